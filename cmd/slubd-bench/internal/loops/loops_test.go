package loops

import (
	"errors"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// allocs are those with Go loops.
var allocs = []string{workload.Slubd, workload.Go, workload.Pool, workload.SyncMap, workload.Sharded}

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
				sample, err := s.Run(w.Spec(2, 64, 1).WithOps(ops(w.Kind, 5000)))
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

// ops is how many operations of a kind a test has time for, of n that it would like.
func ops(kind workload.Kind, n int) int {
	if kind.ByPeriod() {
		return max(1, n/500)
	}
	return n
}

// With one thread the maps find the same values in the same order.
func TestMapsDoTheSame(t *testing.T) {
	for _, w := range workload.Catalog() {
		if w.Kind != workload.RCUMap {
			continue
		}
		spec := w.Spec(1, 64, 1).WithOps(20_000)
		want := checksum(t, workload.Slubd, spec)
		for _, entrant := range []string{workload.SyncMap, workload.Sharded} {
			if got := checksum(t, entrant, spec); got != want || want == 0 {
				t.Errorf("%s: slubd's checksum is %#x, %s's %#x", w.Name, want, entrant, got)
			}
		}
	}
}

// A run's checksum depends on which sizes and slots are drawn, on what is written where,
// and on every object's being freed once, by whoever; with one thread, on the order, too.
func TestAllAllocatorsDoTheSame(t *testing.T) {
	for _, w := range workload.Catalog() {
		if !w.Kind.ByMalloc() {
			continue
		}
		seen := map[uint64]bool{}
		for _, threads := range []int{1, 2, 4} {
			if w.Kind.Paired() && threads == 1 {
				continue
			}
			for seed := range uint64(2) {
				spec := w.Spec(threads, 64, seed).WithOps(3000)
				want := checksum(t, workload.Slubd, spec)
				if got := checksum(t, workload.Go, spec); got != want {
					t.Errorf("%s, %d threads, seed %d: slubd's checksum is %#x, go's %#x", w.Name, threads, seed, want, got)
				}
				seen[want] = true
				if !native.Available {
					continue
				}
				if sample, err := native.Run(spec); err != nil || sample.Checksum != want {
					t.Errorf("%s, %d threads, seed %d: slubd's checksum is %#x, C's %#x, %v", w.Name, threads, seed, want, sample.Checksum, err)
				}
			}
		}
		if drawn := w.Kind.Sizes() != nil; drawn && len(seen) < 6 {
			t.Errorf("%s: threads and seeds make %d different checksums of 6", w.Name, len(seen))
		}
	}
}

// checksum is that of one run.
func checksum(t *testing.T, alloc string, spec workload.Spec) uint64 {
	t.Helper()
	s, err := Open(alloc, spec)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := s.Run(spec)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatalf("%s, %s: %v", spec.Kind, alloc, err)
	}
	return sample.Checksum
}

func TestMallocMixTellsWhatItsSizesTake(t *testing.T) {
	for _, alloc := range []string{workload.Slubd, workload.Go} {
		spec := workload.Spec{Kind: workload.MallocMix, Threads: 1, Live: 10}.WithOps(100)
		s, err := Open(alloc, spec)
		if err != nil {
			t.Fatal(err)
		}
		sample, err := s.Run(spec)
		if err := errors.Join(err, s.Close()); err != nil || len(sample.Classes) != len(workload.Classes()) {
			t.Fatalf("%s: %+v, %v", alloc, sample.Classes, err)
		}
		for _, c := range sample.Classes {
			if c.Asked == 0 || c.Given < c.Asked || c.Given > 2*c.Asked {
				t.Errorf("%s: %+v", alloc, c)
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
	if _, err := Open(workload.Pool, workload.Spec{Kind: workload.RCUMap, Size: 64}); err == nil {
		t.Error("sync.Pool is a map")
	}
	for _, alloc := range []string{workload.Slubd, workload.Go, workload.Pool} {
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

func (a brokenArm) worker(thread int, h *shared) (worker, error) {
	if thread%2 == 1 {
		return a.heap.worker(thread, h)
	}
	if a.calls < 0 {
		return worker{}, errBroken
	}
	w, err := a.heap.worker(thread, h)
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
	for _, spec := range []workload.Spec{
		{Kind: workload.Xfer, Batch: workload.XferBatch},
		{Kind: workload.XMalloc, Batch: workload.XMallocBatch},
	} {
		spec.Threads, spec.Size = 4, 64
		spec = spec.WithOps(10_000)
		for calls := -1; calls < 2; calls++ {
			s := &Session{brokenArm{heap{spec}, calls}}
			if _, err := s.Run(spec); !errors.Is(err, errBroken) || !errors.Is(err, errAbandoned) {
				t.Errorf("%s, failing after %d calls: %v", spec.Kind, calls, err)
			}
		}
	}
}
