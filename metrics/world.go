package metrics

import (
	"iter"
	"strconv"
	"strings"
	"sync"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// world is what one scrape shows: values only, nothing that is still moving.
// Names are valid label values and distinct within their slice.
type world struct {
	caches []cacheStats
	arenas []arena.Stats
	// backlogs of the caches; those of Buckets have one together.
	backlogs []slub.BacklogStats
	buckets  []bucketsStats // those that were used
	domains  []rcu.Stats
	// groups are the first of the openGroups.
	groups     []slub.GroupStats
	openGroups int
	// differences between sysfs and the processor, which don't change while the process runs.
	differences []numa.Difference
}

// cacheStats are a cache's with the names that the series have of what it belongs to; "" for no
// Buckets or group.
type cacheStats struct {
	slub.Stats
	cpus                          []slub.CPUStats // with Config.PerCPU
	arena, domain, buckets, group string
}

// bucketsStats are those of the objects that are of no cache, with the bytes in use of the others.
type bucketsStats struct {
	slub.LargeStats
	classBytes float64
}

// crossCheck is numa's for the machine. It reads files at the first call only.
var crossCheck = sync.OnceValue(func() []numa.Difference { return numa.System().CrossCheck() })

// observer takes the snapshots of what caches have in common, once each.
type observer struct {
	world
	arenas   map[*arena.Arena]int // index in world.arenas
	domains  map[*rcu.Domain]int
	buckets  map[*slub.Buckets]int // -1: never used
	backlogs map[uint32]bool       // by number
}

// observe takes the snapshots, one per cache, arena and domain.
func observe(caches iter.Seq[*slub.Cache], perCPU bool) world {
	o := observer{world: world{differences: crossCheck()}, arenas: map[*arena.Arena]int{},
		domains: map[*rcu.Domain]int{}, buckets: map[*slub.Buckets]int{}, backlogs: map[uint32]bool{}}
	var belongs [][3]int // of each cache: indexes of arena, domain, Buckets
	for c := range caches {
		s := cacheStats{Stats: c.Stats()}
		if id := s.Backlog.ID; !o.backlogs[id] {
			o.backlogs[id] = true
			o.world.backlogs = append(o.world.backlogs, s.Backlog)
		}
		at := [3]int{o.arenaOf(c), o.domainOf(c), -1}
		shown := !unused(s.Stats)
		if b := c.Buckets(); b != nil {
			at[2] = o.bucketsOf(b, shown)
			if shown {
				o.world.buckets[at[2]].classBytes += float64(s.InUse) * float64(s.Size)
			}
		}
		if !shown {
			continue
		}
		if g := c.Group(); g != nil {
			s.group = valid(g.Name())
		}
		if perCPU {
			s.cpus = c.CPUStats()
		}
		o.caches, belongs = append(o.caches, s), append(belongs, at)
	}
	w := o.world
	w.makeDistinct()
	for i, at := range belongs {
		s := &w.caches[i]
		if s.arena, s.domain = w.arenas[at[0]].Name, w.domains[at[1]].Name; at[2] >= 0 {
			s.buckets = w.buckets[at[2]].Name
		}
	}
	return w
}

func (o *observer) arenaOf(c *slub.Cache) int {
	a := c.Arena()
	i, seen := o.arenas[a]
	if !seen {
		i = len(o.world.arenas)
		o.arenas[a] = i
		o.world.arenas = append(o.world.arenas, a.Stats())
	}
	return i
}

func (o *observer) domainOf(c *slub.Cache) int {
	d := c.Domain()
	i, seen := o.domains[d]
	if !seen {
		i = len(o.world.domains)
		o.domains[d] = i
		o.world.domains = append(o.world.domains, d.Stats())
	}
	return i
}

// bucketsOf returns the index of Buckets that were used: a class of them is shown, or there was an
// object of no class. It is -1 for others.
func (o *observer) bucketsOf(b *slub.Buckets, shown bool) int {
	i, seen := o.buckets[b]
	if seen && (i >= 0 || !shown) {
		return i
	}
	i = -1
	if large := b.LargeStats(); shown || large.Runs.Allocs+large.Mappings.Allocs > 0 {
		i = len(o.world.buckets)
		o.world.buckets = append(o.world.buckets, bucketsStats{LargeStats: large})
	}
	o.buckets[b] = i
	return i
}

// makeDistinct gives everything of one kind a name of its own. Open caches and arenas have that,
// but closed ones may be among these.
func (w *world) makeDistinct() {
	taken := map[string]bool{}
	for i := range w.caches {
		s := &w.caches[i]
		s.Name = distinct(taken, s.Name, int(s.ID))
	}
	clear(taken)
	for i := range w.backlogs {
		s := &w.backlogs[i]
		s.Name = distinct(taken, s.Name, int(s.ID))
	}
	clear(taken)
	for i := range w.buckets {
		s := &w.buckets[i]
		s.Name = distinct(taken, s.Name, int(s.ID))
	}
	clear(taken)
	for i := range w.arenas {
		s := &w.arenas[i]
		s.Name = distinct(taken, s.Name, i)
	}
	clear(taken)
	for i := range w.domains {
		s, id := &w.domains[i], int(w.domains[i].ID)
		if s.Name == "" {
			s.Name = "domain#" + strconv.Itoa(id) // the same whichever others there are
		}
		s.Name = distinct(taken, s.Name, id)
	}
}

// observeGroups takes the snapshots of at most limit groups, and counts all.
func (w *world) observeGroups(groups iter.Seq[*slub.Group], limit int) {
	taken := map[string]bool{}
	for g := range groups {
		w.openGroups++
		if len(w.groups) < limit {
			s := g.Stats()
			s.Name = distinct(taken, s.Name, w.openGroups) // one may have been closed meanwhile
			w.groups = append(w.groups, s)
		}
	}
}

// unused reports whether s is a size class of Buckets that has never had a slab. The first
// Malloc makes 67 of these, of which most programs use a few. Once shown, a class stays.
func unused(s slub.Stats) bool {
	class := s.Backlog.ID != s.ID // those of Buckets have their backlog in common
	return class && s.Events[slub.AllocSlab] == 0 && s.AllocFailures == 0 && s.ForeignFrees == 0
}

// distinct makes a label value of a name: valid, and followed by #id when
// another has taken it, since two equal series fail the whole scrape.
func distinct(taken map[string]bool, name string, id int) string {
	name = valid(name)
	for taken[name] {
		name += "#" + strconv.Itoa(id)
	}
	taken[name] = true
	return name
}

// valid replaces what is not UTF-8, which the client refuses by a panic.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
