package sheaves

import (
	"errors"
	"math/bits"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// ErrClosed says that the Set is closed, or being closed.
var ErrClosed = errors.New("sheaves: the set is closed")

// Alloc returns an object: from the CPU's main sheaf by one restartable sequence, or else as
// TryAlloc does, or else one of the Source's. Errors: ErrShort if the Source has none; ErrClosed.
// It allocates 8 bytes on the Go heap where it asks the Source for one object.
func (s *Set) Alloc() (unsafe.Pointer, error) { return s.pop.Func()() }

// Free gives an object back: to the CPU's main sheaf, as TryFree does, or to the Source if no sheaf
// takes it. nil is ignored. The Set checks no pointer; with Config.Range one that is not where an
// object starts goes to Source.Flush at once, which may check it.
func (s *Set) Free(obj unsafe.Pointer) { s.free.Func()(obj) }

// FreeRCU gives an object back once every reader of the Domain that may have seen it has finished.
// Source.Reclaim is called on it then, before it can be allocated again. It waits in the CPU's
// rcu_free sheaf, or in a callback of the Domain if no sheaf takes it. nil is ignored. It may wait
// itself, at the Backlog's hard limit.
func (s *Set) FreeRCU(obj unsafe.Pointer) { s.freeRCU.Func()(obj) }

// initOperations makes the three operations above. Their code reads s where it lies.
func (s *Set) initOperations(r Range) {
	s.pop.Init(s.slots, percpu.Main, s.allocSlow)
	filter := percpu.Filter{}.RejectAll()
	if s.hasRange = r != (Range{}); s.hasRange {
		filter = s.rangeFilter(r)
	}
	s.free.Init(filter.ForStacks(s.slots, percpu.Main), s.freeSlow)
	s.freeRCU.Init(filter.ForStacks(s.slots, percpu.RCU), s.freeRCUSlow)
}

// rangeFilter makes a Filter for which the whole range is one slab. A Filter doesn't compare with
// the number of objects if their size is a power of two. These fill pages, or are filled by pages,
// so that comparing the page will do.
func (s *Set) rangeFilter(r Range) percpu.Filter {
	n := r.Bytes / s.objectSize
	pages := mem.AlignUp(n*s.objectSize, mem.PageSize) / mem.PageSize
	owners := make([]owner.Word, pages)
	for i := range owners {
		owners[i] = s.owners[s.nodeOf(mem.Ptr(r.Base+uintptr(i)*mem.PageSize))]
	}
	return percpu.NewFilter(r.Base, pages, unsafe.Pointer(&owners[0]), s.objectSize,
		int(n), bits.Len64(uint64(pages-1)))
}

// nodeOf returns the index of the node of an object.
func (s *Set) nodeOf(obj unsafe.Pointer) int {
	if len(s.barns) == 1 {
		return 0
	}
	return s.source.NodeOf(obj)
}

// isObject reports whether obj may be an object, as far as the Set can tell.
func (s *Set) isObject(obj unsafe.Pointer) bool { return !s.hasRange || s.free.Owner(obj) != 0 }

func (s *Set) allocSlow() (unsafe.Pointer, error) {
	if p := s.TryAlloc(); p != nil {
		return p, nil
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	s.count(AllocSlowpath, 1)
	var one [1]unsafe.Pointer
	if s.source.Refill(s.homes.Index(percpu.CPUNow()), one[:], false) == 0 {
		return nil, ErrShort
	}
	p := one[0]
	if s.closed.Load() { // Close has not waited for this call, and nothing may be lost
		s.source.Flush(one[:])
		return nil, ErrClosed
	}
	return p, nil
}

func (s *Set) freeSlow(obj unsafe.Pointer) {
	if obj == nil || s.isObject(obj) && s.TryFree(obj, s.nodeOf(obj)) {
		return
	}
	s.freeToSource([]unsafe.Pointer{obj})
}

func (s *Set) freeToSource(objs []unsafe.Pointer) {
	if len(objs) > 0 {
		s.count(FreeSlowpath, len(objs))
		s.source.Flush(objs)
	}
}

func (s *Set) freeRCUSlow(obj unsafe.Pointer) {
	if obj == nil {
		return
	}
	if s.isObject(obj) && s.TryFreeRCU(obj, s.nodeOf(obj), MayWait) {
		return
	}
	s.inCallbacks.Add(1)
	s.domain.Defer(func() {
		defer s.inCallbacks.Add(-1)
		objs := []unsafe.Pointer{obj}
		s.freeToSource(objs[:s.source.Reclaim(objs)])
	})
}
