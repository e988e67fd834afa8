package loops

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
	"github.com/slubd/slubd/internal/testutil"
)

// implementations are those with Go loops.
var implementations = []string{workload.Slubd, workload.Local, workload.Go, workload.Pool, workload.SyncMap, workload.Sharded}

// loopWorkloads returns the workloads that an implementation runs as loops on any machine. Those on
// nodes have tests of their own.
func loopWorkloads(alloc string) []workload.Workload {
	return slices.DeleteFunc(workload.Catalog(), func(w workload.Workload) bool {
		return w.Kind.WholeHeap() || w.Kind.OnNodes() || !w.Has(alloc)
	})
}

func TestEveryLoopRunsTwice(t *testing.T) {
	for _, alloc := range implementations {
		for _, w := range loopWorkloads(alloc) {
			spec := small(w.Spec(2, 64, 1))
			s, err := Open(alloc, spec)
			if err != nil {
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
				continue
			}
			for range 2 {
				sample, err := s.Run(spec.WithOps(ops(w.Kind, 5000)))
				if err != nil || sample.Value <= 0 {
					t.Errorf("%s, %s: %+v, %v", w.Name, alloc, sample, err)
				}
			}
			if err := s.Close(); err != nil { // slubd reports leaks here
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
			}
		}
	}
}

// small has fewer objects than a user's run. With the race detector, where each of them costs
// microseconds, it has fewer again: what is unordered is unordered for all of them.
func small(spec workload.Spec) workload.Spec {
	spec = spec.Small()
	if testutil.Instrumented {
		spec.Live = min(spec.Live, 2000)
	}
	return spec
}

// ops is how many operations a test has time for, of the n that it asks for.
func ops(kind workload.Kind, n int) int {
	switch {
	case kind.ByPeriod():
		return max(1, n/500)
	case kind == workload.Reclaim:
		return max(1, n/20)
	}
	return n
}

// checksOnly skips a test in builds with the race detector. It compares what loops compute, which
// the detector doesn't change, at ten times the cost; TestEveryLoopRunsTwice has all loops there.
func checksOnly(t *testing.T) {
	if testutil.Instrumented {
		t.Skip("the race detector doesn't change what loops compute")
	}
}

// TestMapChecksums checks that, with one thread, the maps find the same values in the same order.
func TestMapChecksums(t *testing.T) {
	checksOnly(t)
	for _, w := range workload.Catalog() {
		if w.Kind != workload.RCUMap {
			continue
		}
		spec := w.Spec(1, 64, 1).WithOps(20_000)
		want := checksum(t, workload.Slubd, spec)
		for _, name := range []string{workload.SyncMap, workload.Sharded} {
			if got := checksum(t, name, spec); got != want || want == 0 {
				t.Errorf("%s: slubd's checksum is %#x, %s's %#x", w.Name, want, name, got)
			}
		}
	}
}

// TestChecksums compares the checksums of slubd, the Go heap and C. A checksum depends on the sizes
// and slots that are drawn, on what is written where, and on each object being freed once; with
// one thread also on the order.
func TestChecksums(t *testing.T) {
	checksOnly(t)
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

// TestTraceChecksums replays a trace in Go and in C: whatever the allocator, each object is the one
// that the trace says, freed once, in the order of the trace.
func TestTraceChecksums(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.trace")
	writeTrace(t, file, 5000)
	cycle, err := replay.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 3} {
		spec := workload.OfTrace(file).Spec(threads, 0, 1)
		spec.Batch, spec.Live = cycle.Pairs(), cycle.Objects
		spec = spec.WithOps(2 * cycle.Pairs())
		want := cycle.Checksum(spec.Weight()) * uint64(threads)
		for _, alloc := range []string{workload.Slubd, workload.Go, workload.Pool} {
			if got := checksum(t, alloc, spec); got != want {
				t.Errorf("%d threads: the trace's checksum is %#x, %s's %#x", threads, want, alloc, got)
			}
		}
		if native.Available {
			if sample, err := native.Run(spec); err != nil || sample.Checksum != want {
				t.Errorf("%d threads: the trace's checksum is %#x, C's %#x, %v", threads, want, sample.Checksum, err)
			}
		}
		wrong := spec
		wrong.Batch++
		if _, err := native.Run(wrong); err == nil {
			t.Error("C has replayed what is no whole cycle")
		}
		s, err := Open(workload.Slubd, wrong)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(wrong); err == nil {
			t.Error("Go has replayed what is no whole cycle")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// writeTrace records the random life of some objects, of 1 byte to 100,000.
func writeTrace(t *testing.T, file string, events int) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.New(f, trace.Config{})
	if err != nil {
		t.Fatal(err)
	}
	inUse := make([]bool, 100)
	random := workload.NewRandom(1, 0)
	for range events {
		i := random.Draw(uint32(len(inUse)))
		o := hooks.Object{Addr: uintptr(i + 1), Size: int64(1 + random.Draw(1<<random.Draw(17)))}
		if inUse[i] {
			r.Free(o)
		} else {
			r.Alloc(o)
		}
		inUse[i] = !inUse[i]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
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

func TestMallocMixReportsBytesGiven(t *testing.T) {
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

// slub.Malloc gives at most 8 % more bytes than are asked for, in the mean over malloc-mix's sizes.
func TestMeanWasteOfMallocMix(t *testing.T) {
	classes, err := mallocs{}.classes()
	if err != nil {
		t.Fatal(err)
	}
	var asked, given uint64
	for _, c := range classes {
		asked, given = asked+c.Asked, given+c.Given
	}
	if 100*given > 108*asked {
		t.Errorf("%d bytes are given for %d", given, asked)
	}
	t.Logf("%.3f bytes are given for each that is asked for", float64(given)/float64(asked))
}

func TestHeapAllocationsAreCounted(t *testing.T) {
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

func TestUnknownImplementationsAndLoops(t *testing.T) {
	if _, err := Open(workload.Mimalloc, workload.Spec{Kind: workload.Pair, Size: 64}); err == nil {
		t.Error("no error for mimalloc, which has no Go loops")
	}
	if _, err := Open(workload.Pool, workload.Spec{Kind: workload.RCUMap, Size: 64}); err == nil {
		t.Error("no error for sync.Pool, which is not a map")
	}
	for _, alloc := range []string{workload.Slubd, workload.Go, workload.Pool} {
		spec := workload.Spec{Kind: workload.GC, Size: 64, Threads: 1, Ops: 1}
		s, err := Open(alloc, spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(spec); err == nil {
			t.Errorf("%s: no error for gc, which is not a loop", alloc)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// brokenTarget is a target whose producers fail: in worker, while warming up, or while timed.
type brokenTarget struct {
	heap
	calls int // calls of loop that succeed; -1: worker fails
}

var errBroken = errors.New("broken on purpose")

func (a brokenTarget) worker(thread int, h *shared) (worker, error) {
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

func TestFailingThreadEndsWaiting(t *testing.T) {
	for _, spec := range []workload.Spec{
		{Kind: workload.Xfer, Batch: workload.XferBatch},
		{Kind: workload.XMalloc, Batch: workload.XMallocBatch},
	} {
		spec.Threads, spec.Size = 4, 64
		spec = spec.WithOps(10_000)
		for calls := -1; calls < 2; calls++ {
			s := &Session{target: brokenTarget{heap: heap{spec: spec}, calls: calls}}
			if _, err := s.Run(spec); !errors.Is(err, errBroken) || !errors.Is(err, errAbandoned) {
				t.Errorf("%s, failing after %d calls: %v", spec.Kind, calls, err)
			}
		}
	}
}
