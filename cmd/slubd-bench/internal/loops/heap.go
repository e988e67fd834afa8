package loops

import (
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// ringSize is how many objects pair keeps alive on the Go heap: enough to make
// them escape, few enough for the ring itself to stay in L1.
const ringSize = 1024

// heap is the Go heap. Dropping the last pointer is its way to free.
type heap struct{ spec workload.Spec }

func openHeap(s workload.Spec) (arm, error) { return heap{s}, nil }

func (heap) backdrop() func() (map[string]float64, error) { return quiet() }
func (heap) close() error                                 { return nil }

// newObject is new for a size known at run time: a pointer-free object. It
// measures as new([64]byte) does, or a little better.
func newObject(size int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
}

func (h heap) worker(thread int, between *shared) (worker, error) {
	s := h.spec
	if s.Kind.ByMalloc() {
		return h.mallocWorker(thread, between)
	}
	size := s.Size
	random := workload.NewRandom(s.Seed, thread)
	switch s.Kind {
	case workload.Pair, workload.Prefill, workload.FreeRCUFlood:
		ring := make([]unsafe.Pointer, ringSize)
		return worker{loop: func(n int) error { return heapPair(ring, size, n) }}, nil
	case workload.Batch, workload.Bulk:
		order := s.Order.Indices(s.Batch, s.Seed)
		live := make([]unsafe.Pointer, s.Batch)
		return worker{loop: func(n int) error { return heapBatch(live, order, size, n) }}, nil
	case workload.Churn:
		live := make([]unsafe.Pointer, s.Live)
		for i := range live {
			live[i] = newObject(size)
		}
		return worker{loop: func(n int) error { return heapChurn(live, &random, size, n) }}, nil
	case workload.Mix:
		live := make([]unsafe.Pointer, s.Live)
		sizes := workload.MixSizes()
		for i := range live {
			live[i] = newObject(int(sizes[random.Draw(uint32(len(sizes)))]))
		}
		return worker{loop: func(n int) error { return heapMix(live, sizes, &random, n) }}, nil
	case workload.Xfer:
		q := between.queues[thread/2]
		if thread%2 == 0 {
			return worker{loop: func(n int) error { return heapProduce(q, size, n) }}, nil
		}
		return worker{loop: func(n int) error { return heapConsume(q, n) }}, nil
	}
	return worker{}, noLoop(workload.Go, s.Kind)
}

func heapPair(ring []unsafe.Pointer, size, n int) error {
	for i := range n {
		p := newObject(size)
		touch(p, i)
		ring[i%ringSize] = p
	}
	return nil
}

func heapBatch(live []unsafe.Pointer, order []uint32, size, n int) error {
	for done := 0; done < n; done += len(live) {
		for i := range live {
			p := newObject(size)
			touch(p, i)
			live[i] = p
		}
		for _, k := range order {
			live[k] = nil
		}
	}
	return nil
}

func heapChurn(live []unsafe.Pointer, r *workload.Random, size, n int) error {
	random := *r
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		p := newObject(size)
		touch(p, i)
		live[slot] = p
	}
	*r = random
	return nil
}

func heapMix(live []unsafe.Pointer, sizes []uint32, r *workload.Random, n int) error {
	random := *r
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		class := random.Draw(uint32(len(sizes)))
		p := newObject(int(sizes[class]))
		touch(p, i)
		live[slot] = p
	}
	*r = random
	return nil
}

func heapProduce(q *queue, size, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.claim()
		if err != nil {
			return err
		}
		for i := range batch {
			p := newObject(size)
			touch(p, i)
			batch[i] = p
		}
		q.publish()
	}
	return nil
}

func heapConsume(q *queue, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.take()
		if err != nil {
			return err
		}
		clear(batch[:])
		q.release()
	}
	return nil
}
