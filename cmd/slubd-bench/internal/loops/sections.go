package loops

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
)

// sections is slubd in the workloads that need a domain and no objects: readers that find
// one word, and updaters that wait for them.
type sections struct {
	spec   workload.Spec
	domain rcu.Domain
	found  atomic.Pointer[uint64]
}

func openSections(s workload.Spec) (arm, error) {
	a := &sections{spec: s}
	word := uint64(1)
	a.found.Store(&word)
	return a, nil
}

func (a *sections) backdrop() func() (map[string]float64, error) {
	return startReaders(&a.domain, a.spec)
}
func (*sections) close() error { return nil }

func (a *sections) worker(int, *shared) (worker, error) {
	sum := new(uint64)
	switch a.spec.Kind {
	case workload.RCURead:
		r := a.domain.Register("slubd-bench")
		return worker{stop: func() { r.Close() }, sum: sum, loop: func(n int) error {
			*sum += read(r, &a.found, n)
			return nil
		}}, nil
	case workload.GPLatency:
		return worker{loop: func(n int) error {
			for range n {
				if err := a.domain.Synchronize(context.Background()); err != nil {
					return fmt.Errorf("synchronize: %w", err)
				}
			}
			return nil
		}}, nil
	}
	return worker{}, noLoop(workload.Slubd, a.spec.Kind)
}

// read goes through n sections and adds up what they find.
func read(r *rcu.Reader, found *atomic.Pointer[uint64], n int) (sum uint64) {
	for done := 0; done < n; done += workload.SectionsPerReport {
		for range workload.SectionsPerReport {
			r.Lock()
			sum += *found.Load()
			r.Unlock()
		}
		r.Quiescent()
	}
	return sum
}
