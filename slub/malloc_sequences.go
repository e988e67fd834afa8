package slub

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// sequences are the operations of Buckets, or of DefaultBuckets, that are one restartable sequence
// each. They take their slow paths until they are filled. They are no struct within the Buckets: a
// selector more, and the compiler no longer inlines Malloc.
type sequences struct {
	malloc    *percpu.PopBySize
	free      *percpu.FreeByOwner
	bytes     *percpu.SliceBySize
	freeBytes *percpu.FreeSliceByOwner
	// direct has how many bytes malloc serves, without a hook, from the class; or 0.
	direct *atomic.Uintptr
}

func (s sequences) init(malloc percpu.SizeFunc, free percpu.FreeFunc, bytes percpu.SliceFunc, freeBytes percpu.FreeSliceFunc) {
	s.malloc.Init(malloc)
	s.free.Init(free)
	s.bytes.Init(bytes)
	s.freeBytes.Init(freeBytes)
}

// fill lets the sequences find the caches' stacks: those that free by owner word, those that
// allocate by size if there is one partition. Instrumented caches have no such sequences, nor has
// any class beside a debug cache: all four then always take their slow paths, which call the
// caches' own operations. Hardened ones have others in place of the first two, and those that keep
// free objects zero in place of the frees. It is called once, at a time when no hooks are to see
// every object; see filling.
func (b *Buckets) fill(s sequences) {
	switch c := b.caches[0]; {
	case b.debugged:
		return
	case c.sequencesMark():
		b.fillMarked(s)
		return
	case c.onlyClears() && c.keepsZero():
		b.fillZero(s)
	case c.alwaysInstrumented():
		return
	default:
		filters := make([]percpu.Filter, len(b.caches))
		for i, c := range b.caches {
			filters[i] = c.free.Filter
		}
		s.free.Fill(b.firstID, filters)
		s.freeBytes.Fill(b.firstID, filters)
	}
	if b.partitions > 1 {
		return
	}
	stacks := func(classes []uint8) (stacks []percpu.Slots) {
		for _, class := range classes[1:] { // classes[0] is for no bytes
			stacks = append(stacks, b.caches[class].stacks)
		}
		return stacks
	}
	s.malloc.Fill(percpu.Main, stacks(fineClasses), stacks(coarseClasses))
	s.bytes.Fill(s.malloc, rooms[:])
	s.direct.Store(maxClass)
}

// fillZero lets Free find the stacks of caches that keep free objects zero. FreeBytes calls the
// caches' own operations.
func (b *Buckets) fillZero(s sequences) {
	filters := make([]percpu.Filter, len(b.caches))
	sizes := make([]uintptr, len(b.caches))
	for i, c := range b.caches {
		filters[i], sizes[i] = c.freeRCU.Filter.ForStacks(c.stacks, percpu.Main), c.layout.size
	}
	s.free.FillZero(b.firstID, filters, sizes)
}

// fillMarked lets Malloc and Free find the stacks and marks of hardened caches. The functions on
// slices call those of the caches.
func (b *Buckets) fillMarked(s sequences) {
	objects := make([]percpu.MarkedObjects, len(b.caches))
	for i, c := range b.caches {
		objects[i] = c.markedObjects()
	}
	s.free.FillMarked(b.firstID, objects, func(p unsafe.Pointer) { b.cacheOf(p).freeClaimed(p) })
	if b.partitions == 1 {
		s.malloc.FillMarked(objects, fineClasses[1:], coarseClasses[1:])
	}
}
