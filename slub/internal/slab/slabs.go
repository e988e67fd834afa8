package slab

import (
	"iter"
	"runtime"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
)

// Slabs are the slabs of one cache. All methods may be called by any goroutine. None waits for
// anything but a node's lock, the arena and the functions in Config.
type Slabs struct {
	arena         *arena.Arena
	base          uintptr  // of the arena's range
	nodes         []node   // by node index
	fallbackNodes [][]int  // for each node the others with memory, by distance
	counters      Counters // cells of the cache's
	free          freeCounts

	size       uintptr      // bytes from one object to the next
	magic      uint64       // 2^64/size, rounded up; see isStart
	lead       uintptr      // bytes in front of a slab's first object
	fp         uintptr      // offset of the free pointer in an object
	order      int          // preferred order of a slab
	single     bool         // a slab has one object, and no more pages than that
	secret     uint64       // what free pointers are combined with
	id         uint32       // number of the cache, for the owner words of pages
	minPartial atomic.Int64 // partial slabs of a node from which on empty ones are not kept
	defrag     atomic.Int64 // see SetRemoteDefragRatio
	shuffle    []uint32     // a random order of a slab's objects, or nil
	unshuffle  []uint32     // the place of each object in it
	zero       bool         // new slabs are cleared
	marks      *MarkTable   // nil: only single objects have marks, or exts has them
	exts       *ExtTable    // may be nil
	fenceEvery uint32       // see fence.go
	made       atomic.Uint32

	onGrow           func()    // may be nil
	onNewSlab        func(Ref) // may be nil
	onCorrupt        func(obj, slab uintptr)
	onDoubleFree     func(obj, slab uintptr)
	onDamage         func(Damage)
	inspect          func(obj uintptr) (found string)
	onAloneFreed     func(obj uintptr) // may be nil
	onGuardedFreed   func(obj uintptr) (found, history string)
	releaseGuarded   func(page uintptr)
	afterGracePeriod func(f func())          // nil: pages go back at once
	charge           func(bytes int64) error // nil: nothing is charged
	uncharge         func(bytes int64)
	nearLimit        func() bool // may be nil
	backlog          Backlog     // may be nil

	damages  damages      // not reported yet
	isolated atomic.Int64 // slabs; see isolate.go

	// fallbacks counts slabs of less than the preferred order, whose head is not
	// found by masking. It only grows.
	fallbacks atomic.Int64
}

// count adds one to a counter.
func (s *Slabs) count(cell int) {
	s.counters.Cells.Add(cell, 1)
	runtime.KeepAlive(s) // s refers to the cache, whose counters are used again when nothing does
}

// countFree notes that a node has n more free objects, or fewer.
func (s *Slabs) countFree(node uint8, n int) {
	s.free.add(node, n)
	runtime.KeepAlive(s) // as in count
}

// Arena returns the arena that the slabs come from.
func (s *Slabs) Arena() *arena.Arena { return s.arena }

// Order returns the preferred order of a slab: log2 of its pages.
func (s *Slabs) Order() int { return s.order }

// Retired returns the number of slabs whose pages wait for a grace period.
func (s *Slabs) Retired() (slabs int64) {
	for i := range s.nodes {
		slabs += s.nodes[i].retired.Load()
	}
	return slabs
}

// owns reports whether a page of the arena belongs to one of these slabs.
func (s *Slabs) owns(page uint32) bool { return s.arena.Owner(page).ID() == s.id }

// isObject reports whether an object of one of these slabs starts at addr.
func (s *Slabs) isObject(addr uintptr) bool {
	if page, ok := s.arena.PageOf(addr); !ok || !s.owns(page) {
		return false
	}
	r := s.slabOf(addr)
	off := addr - r.start()
	return off%s.size == 0 && off/s.size < uintptr(r.objects) // what is behind them is unused
}

// all yields the slabs, listed or not. It looks at the arena's pages, which takes
// milliseconds for each GiB that was ever used of it, and what it finds may have changed meanwhile.
func (s *Slabs) all() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for head, word := range s.arena.Runs() {
			if word.ID() == s.id && !yield(s.slabAt(head)) {
				return
			}
		}
	}
}

// NodeStats is a reading of one node's slabs.
type NodeStats struct {
	Slabs, Partial int64 // slabs in all, and those on the partial list
	Objects        int64 // room for objects in all slabs
	FreeInSlabs    int64 // free objects in all slabs
	Retired        int64 // empty slabs that wait for a grace period, which the others don't include
	Remote         int64 // objects that Take and TakeNoWait have found here for another node
}

// NodeStats reads the counts of a node. It takes no lock and looks at no slab: it costs a load for
// each CPU, however many slabs there are. The counts are exact if no operation overlaps the call;
// see freeCounts.
func (s *Slabs) NodeStats(node int) NodeStats {
	n := &s.nodes[node]
	return NodeStats{Slabs: n.slabs.Load(), Partial: n.partial.Load(), Objects: n.objects.Load(),
		FreeInSlabs: s.free.sum(node), Retired: n.retired.Load(), Remote: n.remote.Load()}
}
