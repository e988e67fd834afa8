package loops

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
)

// sections is slubd in the workloads that need an RCU domain and no objects: readers that load one
// word, and goroutines that wait for grace periods.
type sections struct {
	noBackground
	spec   workload.Spec
	domain rcu.Domain
	found  atomic.Pointer[uint64]
}

func newSections(s workload.Spec) *sections {
	t := &sections{spec: s}
	word := uint64(1)
	t.found.Store(&word)
	return t
}

func (t *sections) background() func() (map[string]float64, error) {
	return startReaders(&t.domain, t.spec)
}

func (t *sections) worker(int, *shared) (worker, error) {
	sum := new(uint64)
	switch t.spec.Kind {
	case workload.RCURead:
		r := t.domain.Register("slubd-bench")
		return worker{stop: func() { r.Close() }, sum: sum, loop: func(n int) error {
			*sum += read(r, &t.found, n)
			return nil
		}}, nil
	case workload.RCUEnter:
		return worker{sum: sum, loop: func(n int) error {
			*sum += enter(&t.domain, &t.found, n)
			return nil
		}}, nil
	case workload.RCUReader:
		r := t.domain.Register("slubd-bench")
		r.Offline()
		return worker{stop: func() { r.Close() }, sum: sum, loop: func(n int) error {
			*sum += enterReader(r, &t.found, n)
			return nil
		}}, nil
	case workload.GPLatency:
		return waiter(t.domain.Synchronize), nil
	case workload.GPExpedited:
		return waiter(t.domain.SynchronizeExpedited), nil
	}
	return worker{}, noLoop(workload.Slubd, t.spec.Kind)
}

// read goes through n sections of a registered reader and adds up what they find.
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

// enterReader is read for a reader that is offline between its sections, each of which is counted.
func enterReader(r *rcu.Reader, found *atomic.Pointer[uint64], n int) (sum uint64) {
	for range n {
		r.Enter()
		sum += *found.Load()
		r.Exit()
	}
	return sum
}

// enter is read for a goroutine that is not registered.
func enter(d *rcu.Domain, found *atomic.Pointer[uint64], n int) (sum uint64) {
	for range n {
		s := d.Enter()
		sum += *found.Load()
		s.Exit()
	}
	return sum
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

// startReaders starts s.Readers, which report quiescent states until stop. stop waits for all
// callbacks and reports the grace periods that passed.
//
// Readers that sleep get OS threads of their own and raise GOMAXPROCS. A goroutine that wakes
// beside GOMAXPROCS busy ones would wait for Go's time slice of 10 ms, and every grace period with
// it, where the kernel runs a waking thread at once. Busy readers are ordinary goroutines that
// share GOMAXPROCS with the threads, as they would in a program.
func startReaders(d *rcu.Domain, s workload.Spec) (stop func() (map[string]float64, error)) {
	procs := runtime.GOMAXPROCS(0)
	readers := s.Readers(procs)
	if readers.Count == 0 {
		return noBackground{}.background()
	}
	rest := func() { // busy
		for begin := time.Now(); time.Since(begin) < readers.Section; {
		}
	}
	if readers.Sleep > 0 {
		runtime.GOMAXPROCS(procs + readers.Count)
		rest = func() { pause(readers.Sleep) }
	}
	var running sync.WaitGroup
	var quit atomic.Bool
	before := d.Stats().GracePeriods
	for range readers.Count {
		running.Go(func() {
			if readers.Sleep > 0 {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			r := d.Register("slubd-bench")
			defer r.Close()
			for !quit.Load() {
				rest()
				r.Quiescent()
			}
		})
	}
	return func() (map[string]float64, error) {
		begin := time.Now()
		quit.Store(true)
		running.Wait()
		err := d.Barrier(context.Background()) // until everything given to FreeRCU is free
		drain := time.Since(begin)
		runtime.GOMAXPROCS(procs)
		return map[string]float64{
			workload.GracePeriods: float64(d.Stats().GracePeriods - before),
			workload.DrainTime:    milliseconds(drain),
		}, err
	}
}
