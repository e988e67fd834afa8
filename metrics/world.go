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
	caches []slub.Stats
	arenas []arena.Stats
	// backlogs of the caches; those of Buckets have one together.
	backlogs []slub.BacklogStats
	// buckets have the objects of Buckets that are of no cache, where there were any.
	buckets []slub.LargeStats
	domains []rcu.Stats
	// groups are the first of the openGroups.
	groups     []slub.GroupStats
	openGroups int
	// differences between sysfs and the processor, which don't change while the process runs.
	differences []numa.Difference
}

// crossCheck is numa's for the machine. It reads files at the first call only.
var crossCheck = sync.OnceValue(func() []numa.Difference { return numa.System().CrossCheck() })

// observe takes the snapshots, one per cache, arena and domain.
func observe(caches iter.Seq[*slub.Cache]) world {
	w := world{differences: crossCheck()}
	seenArena := map[*arena.Arena]bool{}
	seenDomain := map[*rcu.Domain]bool{}
	seenBacklog := map[uint32]bool{}
	seenBuckets := map[*slub.Buckets]bool{}
	for c := range caches {
		s := c.Stats()
		if !unused(s) {
			w.caches = append(w.caches, s)
		}
		if id := s.Backlog.ID; !seenBacklog[id] {
			seenBacklog[id] = true
			w.backlogs = append(w.backlogs, s.Backlog)
		}
		if b := c.Buckets(); b != nil && !seenBuckets[b] {
			seenBuckets[b] = true
			if large := b.LargeStats(); large.Runs.Allocs+large.Mappings.Allocs > 0 {
				w.buckets = append(w.buckets, large)
			}
		}
		if a := c.Arena(); !seenArena[a] {
			seenArena[a] = true
			w.arenas = append(w.arenas, a.Stats())
		}
		if d := c.Domain(); !seenDomain[d] {
			seenDomain[d] = true
			w.domains = append(w.domains, d.Stats())
		}
	}

	// Open caches and arenas have distinct names, but closed ones may be among these.
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
	return w
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
