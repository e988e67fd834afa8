package loops

import (
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// heapWorker is one thread of a workload of workload/malloc.go on the Go heap. Whoever
// frees an object there reads its first word, as everybody does, and drops the pointer.
type heapWorker struct {
	hands[unsafe.Pointer]
	// slices are malloc-mix's live objects: who is to resize one must know its length.
	slices [][]byte
	// ring keeps the objects of cache-scratch and cache-thrash from the stack, as
	// heapPair's does.
	ring [ringSize]unsafe.Pointer
}

// mallocWorker prepares one thread.
func (h heap) mallocWorker(thread int, between *shared) (worker, error) {
	s := h.spec
	w := &heapWorker{hands: hands[unsafe.Pointer]{
		spec: s, index: thread, shared: between, common: &between.pointers, sizes: s.Kind.Sizes(),
		weight: s.Weight(),
		random: workload.NewRandom(s.Seed, thread),
		make: func(size, value int) (unsafe.Pointer, error) {
			p := newObject(size)
			touch(p, value)
			return p, nil
		},
		take: first,
	}}
	loop := map[workload.Kind]func(n int) error{
		workload.Larson: w.larson, workload.MStress: w.mstress, workload.RPTest: w.rptest,
		workload.XMalloc: w.produce, workload.SH6: w.sh, workload.SH8: w.sh,
		workload.AllocTest: w.replace, workload.CacheScratch: w.writeOften,
		workload.CacheThrash: w.writeOften, workload.MallocMix: w.mix,
	}[s.Kind]
	if s.Kind == workload.XMalloc && thread%2 == 1 {
		loop = w.consume
	}
	if s.Kind == workload.MallocMix {
		w.fillSlices()
		return worker{loop: loop, stop: w.stopSlices, sum: &w.sum}, nil
	}
	return worker{loop: loop, stop: w.stop, sum: &w.sum}, w.prepare()
}

func (w *heapWorker) stop() {
	w.drain()
	if w.index == 0 {
		w.shared.leftovers(func(p unsafe.Pointer) { w.sum = w.sum*w.weight + first(p) })
	}
}

// fillSlices is fill for malloc-mix.
func (w *heapWorker) fillSlices() {
	w.slices = make([][]byte, w.spec.Live)
	for i := range w.slices {
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		w.slices[i] = make([]byte, size)
		touch(unsafe.Pointer(&w.slices[i][0]), int(w.random)+size)
	}
}

func (w *heapWorker) stopSlices() {
	for _, object := range w.slices {
		w.sum = w.sum*w.weight + first(unsafe.Pointer(&object[0]))
	}
}

// first returns what touch stored.
func first(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

// classes says what malloc-mix's sizes take: append gives all that the heap has given.
func (heap) classes() ([]workload.ClassBytes, error) {
	sizes := workload.MallocMix.Sizes()
	given := make([]uint32, len(sizes))
	for i, size := range sizes {
		given[i] = uint32(cap(append([]byte(nil), make([]byte, size)...)))
	}
	return workload.ByClass(sizes, given), nil
}
