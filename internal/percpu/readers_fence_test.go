package percpu

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestReadersFence is the litmus test of what Fence promises, that of store buffering: a
// reader that still finds what an updater has replaced must be seen by the updater to be in
// its section. Without the fence the store that counts the reader may leave its CPU later
// than the load behind it was done, which x86 allows, too.
func TestReadersFence(t *testing.T) {
	t.Run("membarrier", func(t *testing.T) { litmus(t, testutil.Stress(t, 20_000), false) })
	t.Run("refused", func(t *testing.T) {
		defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
		litmus(t, testutil.Stress(t, 4_000), true)
	})
}

// litmus is that test. With stop, membarrier may be refused.
func litmus(t *testing.T, n int, stop bool) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("needs two goroutines that run at once")
	}
	rounds := uint64(n)
	seed := testutil.Seed(t)
	r := NewReaders()
	// The last round in which: the pointer was replaced, the round began, the updater had
	// looked, the reader had left.
	var replaced, begun, looked, left meet
	var kept, unseen atomic.Bool // the reader found what was there before; and wasn't counted
	var reading sync.WaitGroup
	reading.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for n := uint64(1); n <= rounds && !unseen.Load(); n++ {
			replaced.Load() // so that the reader's CPU has it at hand
			begun.await(n)
			idle(rng)
			i := r.Enter()
			kept.Store(replaced.Load() < n)
			looked.await(n)
			r.Exit(i)
			left.Store(n)
		}
	})
	rng := rand.New(rand.NewPCG(seed, 0))
	met := 0
	for n := uint64(1); n <= rounds && !unseen.Load(); n++ {
		begun.Store(n)
		idle(rng)
		replaced.Store(n)
		if done, refused := r.Fence(); !done || refused != nil && !stop {
			t.Fatalf("no fence: %v", refused)
		}
		open := r.Open(r.Current())
		looked.Store(n)
		left.await(n)
		if !kept.Load() {
			continue
		}
		if met++; open == 0 {
			t.Errorf("round %d: a reader is in a section with what was replaced, and not counted", n)
			unseen.Store(true)
			begun.Store(n + 1)
			looked.Store(n + 1)
		}
	}
	reading.Wait()
	t.Logf("%d of %d readers were in their section with the old", met, rounds)
}

// TestReadersOpen holds Open to missing nobody: while a section is open and others come
// and go under the same index, the sum is never less than one.
func TestReadersOpen(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		r := NewReaders()
		looks := testutil.Stress(t, 500_000)
		held := r.Enter()
		var over atomic.Bool
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() {
				for !over.Load() {
					for range 100 {
						r.Exit(r.Enter())
					}
					runtime.Gosched()
				}
			})
		}
		for range looks {
			if n := r.Open(held); n < 1 {
				t.Errorf("%d sections are open, though one is open all the time", n)
				break
			}
		}
		over.Store(true)
		others.Wait()
		r.Exit(held)
	})
}

// meet is a number that two goroutines wait for each other at.
type meet struct {
	atomic.Uint64
	_ [120]byte
}

func (m *meet) await(n uint64) {
	for spins := 1; m.Load() < n; spins++ {
		if spins%1000 == 0 {
			runtime.Gosched()
		}
	}
}

// idle takes some tens of nanoseconds, or none.
func idle(rng *rand.Rand) {
	for range rng.IntN(64) {
		rng.Uint64()
	}
}
