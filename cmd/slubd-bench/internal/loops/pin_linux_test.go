package loops

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/numa"
)

// allowed returns the CPUs that the test may use.
func allowed(t *testing.T) []int {
	t.Helper()
	cpus, err := numa.Affinity()
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func TestPinBindsAndUnbinds(t *testing.T) {
	runtime.LockOSThread() // so that the thread is the same after unpin
	defer runtime.UnlockOSThread()
	all := allowed(t)
	last := all[len(all)-1]
	unpin, err := pin(last)
	if err != nil {
		t.Fatal(err)
	}
	if got := allowed(t); !slices.Equal(got, []int{last}) {
		t.Errorf("pinned to %d, allowed %v", last, got)
	}
	unpin()
	if got := allowed(t); !slices.Equal(got, all) {
		t.Errorf("unpinned, allowed %v", got)
	}
}

// affinities is a target that notes which CPUs its threads may use.
type affinities struct {
	noBackground
	mu   sync.Mutex
	seen map[int][]int // by thread
}

func (a *affinities) worker(index int, _ *shared) (worker, error) {
	return worker{loop: func(int) error {
		cpus, err := numa.Affinity()
		a.mu.Lock()
		a.seen[index] = cpus
		a.mu.Unlock()
		return err
	}}, nil
}

func TestThreadsArePinnedInTurn(t *testing.T) {
	all := allowed(t)
	order := []int{all[len(all)-1], all[0]}
	a := &affinities{seen: map[int][]int{}}
	spec := workload.Spec{Kind: workload.Pair, Threads: 5, Size: 64, CPUs: order}.WithOps(100)
	if _, err := (&Session{target: a}).Run(spec); err != nil {
		t.Fatal(err)
	}
	for i := range spec.Threads {
		if want := order[i%2 : i%2+1]; !slices.Equal(a.seen[i], want) {
			t.Errorf("thread %d on %v, want %v", i, a.seen[i], want)
		}
	}
	spec.CPUs = nil
	if _, err := (&Session{target: a}).Run(spec); err != nil || !slices.Equal(a.seen[0], all) {
		t.Errorf("not pinned: on %v, %v", a.seen[0], err)
	}
}

// TestEveryLoopRunsPinned runs all loops on one CPU, in chunks.
func TestEveryLoopRunsPinned(t *testing.T) {
	for _, alloc := range implementations {
		for _, w := range loopWorkloads(alloc) {
			if w.Kind.ByPeriod() || w.Kind == workload.Large {
				continue // few operations
			}
			spec := small(w.Spec(2, 64, 1))
			spec.CPUs = allowed(t)[:1]
			spec = spec.WithChunks()
			s, err := Open(alloc, spec)
			if err != nil {
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
				continue
			}
			sample, err := s.Run(spec.WithOps(2 * spec.Chunk))
			if err != nil || sample.Value <= 0 || sample.Extra[workload.Tail] <= 0 {
				t.Errorf("%s, %s: %+v, %v", w.Name, alloc, sample, err)
			}
			for _, name := range []string{workload.BarnGetFail, workload.FreeSlowpath} {
				if _, ok := sample.Extra[name]; ok != (alloc == workload.Slubd) {
					t.Errorf("%s, %s: has %s: %v", w.Name, alloc, name, ok)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("%s, %s: %v", w.Name, alloc, err)
			}
		}
	}
}

// TestEventsOfARun has batches of which sheaves and barns can keep a part only.
func TestEventsOfARun(t *testing.T) {
	spec := workload.Spec{Kind: workload.Batch, Threads: 1, Size: 64, Batch: 50_000, Order: workload.FIFO}.WithChunks()
	s, err := Open(workload.Slubd, spec)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := s.Run(spec.WithOps(1))
	if n := sample.Extra[workload.BarnGetFail]; err != nil || n <= 0 || n > 1000 {
		t.Errorf("%v failures of a barn in 1000 pairs, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunOnNoSuchCPUFails(t *testing.T) {
	for _, name := range []workload.Kind{workload.Pair, workload.MStress} {
		w := workload.Workload{Kind: name, Batch: 100}
		spec := w.Spec(2, 64, 1)
		spec.CPUs = []int{8191}
		s, err := Open(workload.Slubd, spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(spec.WithOps(100)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
