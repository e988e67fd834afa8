package metrics

import (
	"iter"
	"strconv"
	"strings"

	"github.com/slubd/slubd/arena"
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
	rcu      rcu.Stats // of all domains together: domains have no names
}

// observe takes the snapshots, one per cache, arena and domain.
func observe(caches iter.Seq[*slub.Cache]) world {
	var w world
	seenArena := map[*arena.Arena]bool{}
	seenDomain := map[*rcu.Domain]bool{}
	seenBacklog := map[uint32]bool{}
	for c := range caches {
		s := c.Stats()
		if !unused(s) {
			w.caches = append(w.caches, s)
		}
		if id := s.Backlog.ID; !seenBacklog[id] {
			seenBacklog[id] = true
			w.backlogs = append(w.backlogs, s.Backlog)
		}
		if a := c.Arena(); !seenArena[a] {
			seenArena[a] = true
			w.arenas = append(w.arenas, a.Stats())
		}
		if d := c.Domain(); !seenDomain[d] {
			seenDomain[d] = true
			w.rcu = sum(w.rcu, d.Stats())
		}
	}

	// Open caches have distinct names, but Config.Caches may yield closed ones.
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
	for i := range w.arenas {
		s := &w.arenas[i]
		s.Name = distinct(taken, s.Name, i)
	}
	return w
}

// unused reports whether s is a size class of Buckets that has never had a slab. The first
// Malloc makes 35 of these, of which most programs use a few. Once shown, a class stays.
func unused(s slub.Stats) bool {
	class := s.Backlog.ID != s.ID // those of Buckets have their backlog in common
	return class && s.Events[slub.AllocSlab] == 0 && s.AllocFailures == 0 && s.ForeignFrees == 0
}

// sum adds what two domains report; the oldest reader is that of either.
func sum(a, b rcu.Stats) rcu.Stats {
	return rcu.Stats{
		GracePeriods:   a.GracePeriods + b.GracePeriods,
		Callbacks:      a.Callbacks + b.Callbacks,
		Pending:        a.Pending + b.Pending,
		PendingObjects: a.PendingObjects + b.PendingObjects,
		Readers:        a.Readers + b.Readers,
		Online:         a.Online + b.Online,
		OldestReader:   max(a.OldestReader, b.OldestReader),
	}
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
