package loops

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

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
	case workload.RCUEnter:
		return worker{sum: sum, loop: func(n int) error {
			*sum += enter(&a.domain, &a.found, n)
			return nil
		}}, nil
	case workload.GPLatency:
		return waiter(a.domain.Synchronize), nil
	case workload.GPExpedited:
		return waiter(a.domain.SynchronizeExpedited), nil
	}
	return worker{}, noLoop(workload.Slubd, a.spec.Kind)
}

// waiter waits for one grace period after the other.
func waiter(synchronize func(context.Context) error) worker {
	times := new([]int64)
	return worker{times: times, loop: func(n int) error {
		*times = make([]int64, n)
		last := time.Now()
		for i := range *times {
			if err := synchronize(context.Background()); err != nil {
				return fmt.Errorf("waiting for a grace period: %w", err)
			}
			now := time.Now()
			(*times)[i], last = now.Sub(last).Nanoseconds(), now
		}
		return nil
	}}
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

// enter is read for a goroutine that isn't registered.
func enter(d *rcu.Domain, found *atomic.Pointer[uint64], n int) (sum uint64) {
	for range n {
		s := d.Enter()
		sum += *found.Load()
		s.Exit()
	}
	return sum
}
