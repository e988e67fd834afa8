package slub

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// A lease is what a cache has that another one gets after it: its number, which owner words
// contain, and its per-CPU cells. The caches of one Buckets have one lease together, since their
// numbers are consecutive and their cells adjacent.
//
// An operation on a closed cache is a bug of the caller, but must not meet the next holder of the
// number or the cells. Such an operation may be under way for as long as its goroutine is
// descheduled. So Close only frees the cells, which then read as zeroes. They and the number are
// handed out again when the collector finds that nothing refers to the lease:
//
//   - Every Cache refers to the lease, by shared, and so do the aliases and the Buckets. Set and
//     Slabs refer to the Cache, by the functions that they call. An operation refers to one of
//     these until it is done; internal/percpu/recycle.go argues why, instruction by instruction.
//   - No page has an owner word with the number any more: Close ends without error only when all
//     slabs are back, and pages that wait for a grace period are owner.Retired. A Close with an
//     error leaves the cache in the registry.
//   - A stale pointer to an object leads to a page. The page's word says which cache owns it today.
//
// A cache without a reference that was not closed stays in the registry, too.
type lease struct {
	first uint32         // number
	n     int            // numbers, from first on
	slots []percpu.Slots // adjacent, if they are several
	// single are the cells of caches that were made later. Each is on its own.
	single []percpu.Slots
}

// end makes the lease end when nothing refers to it any more. Its cells were freed. It is called
// once.
func (l *lease) end() { runtime.AddCleanup(l, lease.recycle, *l) }

func (l lease) recycle() {
	percpu.RecycleAdjacent(l.slots)
	for _, s := range l.single {
		s.Recycle()
	}
	caches.mu.Lock()
	caches.numbers.give(l.first, l.n)
	caches.mu.Unlock()
}

// numbers hands out cache numbers. They are handed out again as they come back: single ones for
// single caches, spans of the same length for Buckets. The zero value has all but 0, which is no
// number.
type numbers struct {
	next uint32           // first one that was never handed out; 0 stands for 1
	free map[int][]uint32 // first numbers of spans that came back, by length
}

// take returns the first of n consecutive numbers, 0 if there are none.
func (f *numbers) take(n int) (first uint32) {
	if list := f.free[n]; len(list) > 0 {
		f.free[n] = list[:len(list)-1]
		return list[len(list)-1]
	}
	f.next = max(1, f.next)
	if int(f.next)+n <= owner.MaxCaches {
		first = f.next
		f.next += uint32(n)
		return first
	}
	return f.split(n)
}

// split takes n numbers from a longer span, and keeps the rest.
func (f *numbers) split(n int) (first uint32) {
	best := 0
	for length, list := range f.free {
		if length > n && len(list) > 0 && (best == 0 || length < best) {
			best = length
		}
	}
	if best == 0 {
		return f.merge(n)
	}
	list := f.free[best]
	first = list[len(list)-1]
	f.free[best] = list[:len(list)-1]
	f.give(first+uint32(n), best-n)
	return first
}

// merge joins spans that touch each other, and then takes n numbers if there is a span for them.
// All numbers are in use or in spans then, and none is long enough.
func (f *numbers) merge(n int) (first uint32) {
	type span struct{ first, end uint32 }
	var all []span
	for length, list := range f.free {
		for _, first := range list {
			all = append(all, span{first, first + uint32(length)})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	f.free = nil
	found := false
	for i := 0; i < len(all); {
		s := all[i]
		for i++; i < len(all) && all[i].first == s.end; i++ {
			s.end = all[i].end
		}
		f.give(s.first, int(s.end-s.first))
		found = found || int(s.end-s.first) >= n || owner.MaxCaches-int(f.next) >= n
	}
	if !found {
		return 0
	}
	return f.take(n)
}

// give takes numbers back.
func (f *numbers) give(first uint32, n int) {
	if first+uint32(n) == f.next {
		f.next = first
		return
	}
	if f.free == nil {
		f.free = map[int][]uint32{}
	}
	f.free[n] = append(f.free[n], first)
}

// takeNumbers returns the first of n consecutive numbers. If all are in use or with closed caches,
// it has the collector look which of these nothing refers to. The result is 0 if there are none.
func (r *registry) takeNumbers(n int) (first uint32) {
	for try := range collectTries {
		r.mu.Lock()
		first = r.numbers.take(n)
		r.mu.Unlock()
		if first != 0 || try == collectTries-1 {
			break
		}
		runtime.GC()
		time.Sleep(time.Duration(try) * time.Millisecond) // for the cleanups' goroutine
	}
	return first
}

// collectTries bounds the collections of one New.
const collectTries = 4
