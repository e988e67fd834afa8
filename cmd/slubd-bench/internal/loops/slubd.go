package loops

import (
	"context"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// cache is slubd: a slub.Cache and the domain whose grace periods FreeRCU waits for.
type cache struct {
	*slub.Cache
	spec   workload.Spec
	domain rcu.Domain
}

func openSlubd(s workload.Spec) (arm, error) {
	if s.Kind.ByMalloc() || s.Kind == workload.Mix {
		return mallocs{s}, nil
	}
	if s.Kind == workload.RCURead || s.Kind == workload.RCUEnter || s.Kind.ByPeriod() {
		return openSections(s)
	}
	a := &cache{spec: s}
	var err error
	a.Cache, err = slub.New(nil, slub.Config{Name: "bench-" + string(s.Kind), Size: uintptr(s.Size), Domain: &a.domain})
	return a, err
}

func (a *cache) close() error { return a.Close() }

func (a *cache) backdrop() func() (map[string]float64, error) {
	if a.spec.Kind != workload.RCU && a.spec.Kind != workload.FreeRCUFlood {
		return quiet()
	}
	return startReaders(&a.domain, a.spec)
}

func (a *cache) worker(thread int, h *shared) (worker, error) {
	s, c := a.spec, a.Cache
	random := workload.NewRandom(s.Seed, thread)
	switch s.Kind {
	case workload.Pair:
		return worker{loop: func(n int) error { return slubdPair(c, n) }}, nil
	case workload.Batch:
		order := s.Order.Indices(s.Batch, s.Seed)
		live := make([]ref, s.Batch)
		return worker{loop: func(n int) error { return slubdBatch(c, live, order, n) }}, nil
	case workload.Bulk:
		live := make([]unsafe.Pointer, s.Batch)
		return worker{loop: func(n int) error { return slubdBulk(c, live, n) }}, nil
	case workload.Churn:
		return a.churn(&random)
	case workload.Xfer:
		q := h.queues[thread/2]
		if thread%2 == 0 {
			return worker{loop: func(n int) error { return slubdProduce(c, q, n) }}, nil
		}
		return worker{loop: func(n int) error { return slubdConsume(c, q, n) }}, nil
	case workload.Prefill:
		return prefilled(c)
	case workload.RCU, workload.FreeRCUFlood:
		return worker{loop: func(n int) error { return slubdRCU(c, n) }}, nil
	}
	return worker{}, noLoop(workload.Slubd, s.Kind)
}

// churn fills the live set with one object after the other.
func (a *cache) churn(random *workload.Random) (worker, error) {
	c := a.Cache
	live := make([]ref, 0, a.spec.Live)
	w := worker{
		loop: func(n int) error { return slubdChurn(c, live, random, n) },
		stop: func() {
			for _, r := range live {
				c.Free(pointer(r)) // nil is ignored
			}
		},
	}
	for range a.spec.Live {
		p, err := c.Alloc()
		if err != nil {
			return w, err
		}
		live = append(live, refOf(p))
	}
	return w, nil
}

// prefilled borrows one sheaf for the thread.
func prefilled(c *slub.Cache) (worker, error) {
	p, err := c.Prefill(prefillObjects)
	if err != nil {
		return worker{}, err
	}
	return worker{loop: func(n int) error { return slubdPrefill(c, p, n) }, stop: p.Return}, nil
}

// settle waits until everything that the run handed to FreeRCU is free again.
func settle(d *rcu.Domain) error { return d.Barrier(context.Background()) }
