package loops

import (
	"sync"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// pools is sync.Pool: one, or for mix one per size class. Objects go in as
// unsafe.Pointer, which an interface holds as it holds a *T, without
// allocating.
type pools struct {
	spec workload.Spec
	list []*sync.Pool
}

func openPool(s workload.Spec) (arm, error) {
	p := &pools{spec: s}
	for _, size := range cacheSizes(s) {
		p.list = append(p.list, &sync.Pool{New: func() any { return newObject(size) }})
	}
	return p, nil
}

// cacheSizes lists the object sizes that s needs a pool or a cache for.
func cacheSizes(s workload.Spec) []int {
	if s.Kind != workload.Mix {
		return []int{s.Size}
	}
	var sizes []int
	for _, size := range workload.MixSizes() {
		sizes = append(sizes, int(size))
	}
	return sizes
}

func (*pools) backdrop() func() (map[string]float64, error) { return quiet() }
func (*pools) close() error                                 { return nil }

// get and put are small enough to be inlined.
func get(p *sync.Pool) unsafe.Pointer         { return p.Get().(unsafe.Pointer) }
func put(p *sync.Pool, object unsafe.Pointer) { p.Put(object) }

func (a *pools) worker(thread int, h *shared) (worker, error) {
	s, p := a.spec, a.list[0]
	random := workload.NewRandom(s.Seed, thread)
	switch s.Kind {
	case workload.Pair, workload.Prefill:
		return worker{loop: func(n int) error { return poolPair(p, n) }}, nil
	case workload.Batch, workload.Bulk:
		order := s.Order.Indices(s.Batch, s.Seed)
		live := make([]unsafe.Pointer, s.Batch)
		return worker{loop: func(n int) error { return poolBatch(p, live, order, n) }}, nil
	case workload.Churn:
		live := make([]unsafe.Pointer, s.Live)
		for i := range live {
			live[i] = get(p)
		}
		return worker{loop: func(n int) error { return poolChurn(p, live, &random, n) }}, nil
	case workload.Mix:
		live := make([]classed, s.Live)
		for i := range live {
			class := random.Draw(uint32(len(a.list)))
			live[i] = classed{get(a.list[class]), class}
		}
		return worker{loop: func(n int) error { return poolMix(a.list, live, &random, n) }}, nil
	case workload.Xfer:
		q := h.queues[thread/2]
		if thread%2 == 0 {
			return worker{loop: func(n int) error { return poolProduce(p, q, n) }}, nil
		}
		return worker{loop: func(n int) error { return poolConsume(p, q, n) }}, nil
	}
	return worker{}, noLoop(workload.Pool, s.Kind)
}

func poolPair(p *sync.Pool, n int) error {
	for i := range n {
		object := get(p)
		touch(object, i)
		put(p, object)
	}
	return nil
}

func poolBatch(p *sync.Pool, live []unsafe.Pointer, order []uint32, n int) error {
	for done := 0; done < n; done += len(live) {
		for i := range live {
			object := get(p)
			touch(object, i)
			live[i] = object
		}
		for _, k := range order {
			put(p, live[k])
		}
	}
	return nil
}

func poolChurn(p *sync.Pool, live []unsafe.Pointer, r *workload.Random, n int) error {
	random := *r
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		put(p, live[slot])
		object := get(p)
		touch(object, i)
		live[slot] = object
	}
	*r = random
	return nil
}

// classed is an object of mix with the number of its size class: who frees to
// a pool or a cache has to know which one, as malloc's callers have not.
type classed struct {
	object unsafe.Pointer
	class  uint32
}

func poolMix(list []*sync.Pool, live []classed, r *workload.Random, n int) error {
	random := *r
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		class := random.Draw(uint32(len(list)))
		put(list[live[slot].class], live[slot].object)
		object := get(list[class])
		touch(object, i)
		live[slot] = classed{object, class}
	}
	*r = random
	return nil
}

func poolProduce(p *sync.Pool, q *queue, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.claim()
		if err != nil {
			return err
		}
		for i := range batch {
			object := get(p)
			touch(object, i)
			batch[i] = object
		}
		q.publish()
	}
	return nil
}

func poolConsume(p *sync.Pool, q *queue, n int) error {
	for done := 0; done < n; done += workload.XferBatch {
		batch, err := q.take()
		if err != nil {
			return err
		}
		for _, object := range batch {
			put(p, object)
		}
		q.release()
	}
	return nil
}
