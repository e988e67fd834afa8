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

// TestReadersFence is the litmus test of store buffering for Fence: if a reader still finds what
// an updater has replaced, the updater must see that the reader is in its section. Without the
// fence the store that counts the reader may become visible after the load behind it was done. x86
// allows that, too.
func TestReadersFence(t *testing.T) {
	t.Run("membarrier", func(t *testing.T) { litmus(t, testutil.Stress(t, 20_000), false) })
	t.Run("refused", func(t *testing.T) {
		defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
		litmus(t, testutil.Stress(t, 4_000), true)
	})
}

// litmus runs n rounds of the test. With stop, membarrier may be refused.
func litmus(t *testing.T, n int, stop bool) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("needs two goroutines that run at once")
	}
	rounds := uint64(n)
	seed := testutil.Seed(t)
	r := NewReaders()
	// The last rounds that have begun, in which the updater has replaced the pointer and has
	// looked, and in which the reader has exited.
	var begun, replaced, looked, exited meet
	var stale, unseen atomic.Bool // the reader found the old pointer; it did and wasn't counted
	var reading sync.WaitGroup
	reading.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for n := uint64(1); n <= rounds && !unseen.Load(); n++ {
			replaced.Load() // brings the cache line to the reader's CPU
			begun.await(n)
			idle(rng)
			i := r.Enter()
			stale.Store(replaced.Load() < n)
			looked.await(n)
			r.Exit(i)
			exited.Store(n)
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
		exited.await(n)
		if !stale.Load() {
			continue
		}
		if met++; open == 0 {
			t.Errorf("round %d: a reader has found what was replaced, and its section is not counted", n)
			unseen.Store(true)
			begun.Store(n + 1)
			looked.Store(n + 1)
		}
	}
	reading.Wait()
	t.Logf("%d of %d sections found what was replaced", met, rounds)
}

// TestReadersOpen: Open misses no section. While one is open and others begin and end under the
// same index, the sum is never less than one.
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

// meet is a number of a round, at which two goroutines wait for each other.
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
