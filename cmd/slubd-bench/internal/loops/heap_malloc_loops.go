package loops

import (
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// The loops of malloc_loops.go on the Go heap.

func (w *heapWorker) replace(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight := w.sum, w.weight
	for range n {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		sum = sum*weight + first(live[slot])
		p := newObject(int(size))
		touch(p, int(random)+int(size))
		live[slot] = p
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *heapWorker) mix(n int) error {
	random, sizes, live := w.random, w.sizes, w.slices
	sum, weight := w.sum, w.weight
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		object := make([]byte, size)
		if i%workload.MallocMixRealloc == 0 {
			copy(object, live[slot])
			sum = sum*weight + first(unsafe.Pointer(&object[0]))
		} else {
			sum = sum*weight + first(unsafe.Pointer(&live[slot][0]))
		}
		touch(unsafe.Pointer(&object[0]), int(random)+int(size))
		live[slot] = object
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *heapWorker) writeOften(n int) error {
	size := w.spec.Size
	sum, weight := w.sum, w.weight
	for i := range n {
		p := newObject(size)
		touch(p, i)
		for range workload.CacheWrites {
			*(*uint64)(p)++
		}
		sum = sum*weight + first(p)
		w.ring[i%ringSize] = p
	}
	w.sum = sum
	return nil
}
