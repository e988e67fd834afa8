package sheaves

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// TestStressOperations is TestStress for Alloc, Free and FreeRCU, which go on to the Source.
func TestStressOperations(t *testing.T) {
	for name, r := range map[string]Range{"range": objectRange(stressNodes), "no range": {}} {
		t.Run(name, func(t *testing.T) {
			const users = 6
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
			s := newStressOf(t, 500*time.Microsecond, func(c *Config) { c.ObjectSize, c.Range = objectSize, r })
			n, seed := testutil.Stress(t, 100_000)/users, testutil.Seed(t)
			var busy, disturber sync.WaitGroup
			for i := range uint64(users) {
				busy.Go(func() { s.operate(rand.New(rand.NewPCG(seed, i)), n) })
			}
			done := make(chan struct{})
			disturber.Go(func() { s.disturb(done) })
			busy.Wait()
			close(done)
			disturber.Wait()
			if err := s.Barrier(context.Background()); err != nil {
				t.Error(err)
			}
			s.Shrink()
			if n := s.src.away(); n != 0 {
				t.Errorf("%d objects are lost", n)
			}
			e := s.Stats().Events
			// An object that the hooks keep is allocated and comes back, but no operation frees it.
			allocs, frees := e[AllocFastpath]+e[AllocSlowpath], e[FreeFastpath]+e[FreeRCUSheaf]+e[FreeSlowpath]
			if d := allocs - frees; d > s.kept.Load() {
				t.Errorf("%d allocations, %d frees, %d objects kept: %v", allocs, frees, s.kept.Load(), e)
			}
			t.Log(e)
			s.Close()
		})
	}
}

// operate does random operations, then frees what is left.
func (s *stress) operate(rng *rand.Rand, n int) {
	var held []unsafe.Pointer
	for ; n > 0 || len(held) > 0; n-- {
		if n > 0 && (len(held) == 0 || len(held) < most && rng.IntN(2) == 0) {
			p, err := s.Alloc()
			if err != nil {
				s.t.Error(err)
				return
			}
			s.step(p, atRest, inUse)
			held = append(held, p)
			continue
		}
		i, last := rng.IntN(len(held)), len(held)-1
		p := held[i]
		held[i], held = held[last], held[:last]
		if rng.IntN(3) == 0 {
			s.step(p, inUse, afterFreeRCU)
			s.FreeRCU(p)
		} else {
			s.step(p, inUse, atRest)
			s.Free(p)
		}
		if rng.IntN(64) == 0 {
			s.holdForAMoment(rng)
		}
	}
}

// holdForAMoment has operations of a CPU find their stack locked.
func (s *stress) holdForAMoment(rng *rand.Rand) {
	st := s.slots.LockCPU(rng.IntN(percpu.NumCPU()), []percpu.Kind{percpu.Main, percpu.RCU}[rng.IntN(2)])
	runtime.Gosched()
	st.Unlock()
}
