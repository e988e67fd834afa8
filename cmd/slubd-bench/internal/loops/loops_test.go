package loops

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// allocs are those with Go loops.
var allocs = []string{workload.Slubd, workload.Go, workload.Pool}

// loopWorkloads lists the workloads that alloc runs as loops.
func loopWorkloads(alloc string) []workload.Workload {
	return slices.DeleteFunc(workload.Catalog(), func(w workload.Workload) bool {
		return w.WholeHeap() || !w.Has(alloc)
	})
}

func TestEveryLoopRunsTwice(t *testing.T) {
	for _, alloc := range allocs {
		for _, w := range loopWorkloads(alloc) {
			s, err := Open(alloc, w.Spec(2, 64, 1))
			if err != nil {
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
				continue
			}
			for range 2 {
				sample, err := s.Run(w.Spec(2, 64, 1).WithOps(5000))
				if err != nil || sample.Value <= 0 {
					t.Errorf("%s, %s: %+v, %v", w.Name, alloc, sample, err)
				}
			}
			if err := s.Close(); err != nil { // slubd reports leaks
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
			}
		}
	}
}

func TestTheHeapsAllocationsAreSeen(t *testing.T) {
	spec := workload.Spec{Kind: workload.Pair, Threads: 1, Size: 64}
	s, err := Open(workload.Go, spec)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := s.Run(spec.WithOps(100_000))
	if x := sample.Extra[workload.GoAllocs]; err != nil || x < 0.99 || x > 1.1 {
		t.Errorf("new allocates %v objects per operation, %v", x, err)
	}
}

func TestUnknownAllocatorsAndLoopsAreErrors(t *testing.T) {
	if _, err := Open(workload.Mimalloc, workload.Spec{Kind: workload.Pair, Size: 64}); err == nil {
		t.Error("mimalloc has Go loops")
	}
	for _, alloc := range allocs {
		spec := workload.Spec{Kind: workload.GC, Size: 64, Threads: 1, Ops: 1}
		s, err := Open(alloc, spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(spec); err == nil {
			t.Errorf("%s ran gc as a loop", alloc)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// brokenArm is an arm whose producers fail: at once, while warming up, or
// while they are timed.
type brokenArm struct {
	heap
	calls int // of loop, before it fails; -1: worker itself fails
}

var errBroken = errors.New("broken on purpose")

func (a brokenArm) worker(thread int, q *queue) (worker, error) {
	if thread%2 == 1 {
		return a.heap.worker(thread, q)
	}
	if a.calls < 0 {
		return worker{}, errBroken
	}
	w, err := a.heap.worker(thread, q)
	loop, calls := w.loop, 0
	w.loop = func(n int) error {
		if calls++; calls > a.calls {
			return errBroken
		}
		return loop(n)
	}
	return w, err
}

func TestAFailingThreadLeavesNobodyWaiting(t *testing.T) {
	spec := workload.Spec{Kind: workload.Xfer, Threads: 4, Size: 64, Batch: workload.XferBatch}.WithOps(10_000)
	for calls := -1; calls < 2; calls++ {
		s := &Session{spec, brokenArm{heap{spec}, calls}}
		end := make(chan error, 1)
		go func() {
			_, err := s.Run(spec)
			end <- err
		}()
		select {
		case err := <-end:
			if !errors.Is(err, errBroken) || !errors.Is(err, errAbandoned) {
				t.Errorf("failing after %d calls: %v", calls, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("failing after %d calls: the run hangs", calls)
		}
	}
}
