package slub

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// maxLocal is the largest capacity of a Local: the size of its array, less one, so that the array's
// index is the head's lower bits.
const maxLocal = 1<<localBits - 1

const (
	localBits = 9
	// The head of a Local. Its lower bits are the number of objects, the others count allocations,
	// so that one store maintains both. The count begins so that the bit localOpen is set. The
	// allocation that finds it clear takes the slow path: see arm. The bit is not the highest one
	// because a mask of 32 bits takes no instruction of its own.
	localMask  = maxLocal
	localOne   = 1 << localBits // one allocation
	localOpen  = 1 << 31
	localCount = 1<<(64-localBits) - 1
	// localMost is the largest number of allocations that arm takes.
	localMost = localOpen / localOne
)

// A localState is all of a Local but the reference to it. It is an object of its own, so that the
// cleanup of a Local that was lost finds what it held.
//
//	0 <= head&localMask <= capacity     objs[0:head&localMask) are free objects of the cache
//	allocations = count in head + base
//	frees = allocations + objects now - moved
//
// Alloc takes an object while the bit localOpen of the head together with the number of objects is
// more than low, and Free keeps one while there are fewer objects than high. These are localOpen
// and capacity in normal operation: then Alloc takes an object if there is one and the bit is set.
// Otherwise every operation takes the slow path: low is then more than there can be, and high is 0.
// Any goroutine may close the fast path with refuse; only the Local's opens it, with admit.
//
// The Local's goroutine owns the state. Others load head, base and moved under mu, which the owner
// takes where it changes them together, store low and high, and read what is constant. They load
// and store atomically what the fast path loads and stores plainly. In race builds the fast path is
// closed.
type localState struct {
	head      uint64 // count of allocations<<localBits | objects
	low, high uint64
	own       owner.Word    // of the objects that Free keeps: the cache's on one node
	filter    percpu.Filter // the cache's
	objs      [1 << localBits]uintptr

	cache    *Cache // constant, as the next two fields
	capacity uint64
	mode     localMode
	closed   bool    // by Local.Close
	left     uint64  // allocations from the one that is due to the one that is sampled
	mean     float64 // of the distance that was drawn for the latter
	epoch    uint32  // of the governor when it was drawn
	touched  uint64  // written by every operation in builds with invariants, as is the next field
	inUse    atomic.Bool

	mu    sync.Mutex // a leaf
	moved int64      // objects got from the cache, less those given back
	base  uint64     // what the allocations are more than the head's count, modulo localCount+1

	prev, next *localState // of localSet's list, under its mu
}

// localMode says how the operations of a Local work.
type localMode uint8

const (
	localArray    localMode = iota // from and into the array
	localOrdinary                  // by Cache.Alloc and Free: each object needs a closer look
)

// admit opens the fast path, unless the cache is closed, or has hooks for every object. It pairs
// with ask after the cache's flag closed was set, or its hooks were: either they are seen here, or
// refuse comes after the stores of this.
func (s *localState) admit() {
	atomic.StoreUint64(&s.high, s.capacity)
	atomic.StoreUint64(&s.low, localOpen)
	if s.cache.closed.Load() || s.cache.hooked() {
		s.refuse()
	}
}

// refuse closes the fast path: the next operation takes the slow path, whichever it is.
func (s *localState) refuse() {
	atomic.StoreUint64(&s.low, math.MaxUint64)
	atomic.StoreUint64(&s.high, 0)
}

// refused reports whether the fast path is closed, or half closed: an operation may come between
// the two stores of refuse. Only the Local's goroutine stores localOpen, so an Alloc that low has
// sent to the slow path finds it here.
func (s *localState) refused() bool {
	return atomic.LoadUint64(&s.low) != localOpen || atomic.LoadUint64(&s.high) == 0
}

// len returns the number of objects.
func (s *localState) len() int { return int(atomic.LoadUint64(&s.head) & localMask) }

// move records that n objects have come from the cache, which lie behind the others, or that -n of
// them have gone back.
func (s *localState) move(n int) {
	if invariants.Enabled {
		size := s.len() + n
		invariants.Check(0 <= size && size <= int(s.capacity), "a Local has %d objects, of %d at most", size, s.capacity)
	}
	s.mu.Lock()
	atomic.StoreUint64(&s.head, s.head+uint64(n))
	s.moved += int64(n)
	s.mu.Unlock()
}

// use begins an operation in builds with invariants, and returns what ends it. It writes touched
// first, before it does anything atomic: of two goroutines that use a Local without an order
// between them the race detector reports one.
func (s *localState) use() (end func()) {
	if !invariants.Enabled {
		return func() {}
	}
	s.touched++
	invariants.Check(s.inUse.CompareAndSwap(false, true), "two goroutines use a Local of cache %q at once", s.cache.name)
	return func() { s.inUse.Store(false) }
}

// LocalStats counts what the Locals of a cache do; see Cache.NewLocal.
type LocalStats struct {
	Open    int    // not closed, nor found lost
	Objects uint64 // free objects that they hold
	// Allocs and Frees count the operations that needed nothing but the Local. They are parts of
	// AllocFastpath and FreeFastpath.
	Allocs, Frees uint64
}

// localSet has the Locals of a cache and of its aliases.
type localSet struct {
	mu            sync.Mutex // localState.mu may be taken under it
	first         *localState
	open          atomic.Int64 // length of the list; stored under mu
	allocs, frees uint64       // of those that are closed
	freed         bool         // the cache's counters are, and read 0: so do these
}

// free makes the counts read 0, as the cache's counters do when Close has freed them.
func (l *localSet) free() {
	l.mu.Lock()
	l.freed = true
	l.mu.Unlock()
}

func (l *localSet) add(s *localState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.next = l.first; s.next != nil {
		s.next.prev = s
	}
	l.first = s
	l.open.Add(1)
}

// remove removes s, which has given its objects back, and keeps its counts.
func (l *localSet) remove(s *localState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	l.open.Add(-1)
	var sum LocalStats
	s.addTo(&sum)
	l.allocs += sum.Allocs
	l.frees += sum.Frees
}

// addTo adds the state's figures.
func (s *localState) addTo(sum *LocalStats) {
	s.mu.Lock()
	head, moved, base := atomic.LoadUint64(&s.head), s.moved, s.base
	s.mu.Unlock()
	allocs, objects := (head>>localBits+base)&localCount, head&localMask
	sum.Objects += objects
	sum.Allocs += allocs
	sum.Frees += allocs + objects - uint64(moved)
}

// stats sums the figures of all Locals that there ever were. The counts never decrease before free.
func (l *localSet) stats() LocalStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := LocalStats{Open: int(l.open.Load()), Allocs: l.allocs, Frees: l.frees}
	for s := l.first; s != nil; s = s.next {
		s.addTo(&sum)
	}
	if l.freed {
		sum.Allocs, sum.Frees = 0, 0
	}
	return sum
}

// holders returns how many Locals hold objects, and how many objects.
func (l *localSet) holders() (locals, objects int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := l.first; s != nil; s = s.next {
		if n := s.len(); n > 0 {
			locals, objects = locals+1, objects+n
		}
	}
	return locals, objects
}

// ask asks the Locals of c, or all if it is nil, to give back what they hold: each does with its
// next operation. Those that work the ordinary way hold nothing.
func (l *localSet) ask(c *Cache) {
	if l.open.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := l.first; s != nil; s = s.next {
		if s.mode == localArray && (c == nil && s.len() > 0 || s.cache == c) {
			s.refuse()
		}
	}
}
