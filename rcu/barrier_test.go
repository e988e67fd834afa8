package rcu

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// TestBarrierMissesNothing has goroutines on several CPUs queue callbacks, then others
// call Barrier, after which every one of those callbacks must have run: the
// barrier test of the kernel's rcutorture. Readers and a stranger's callbacks
// keep the domain busy, so that the callbacks lie anywhere between their CPU's queue
// and their return.
func TestBarrierMissesNothing(t *testing.T) {
	const queuers, each, waiters = 3, 20, 2
	rounds := testutil.Stress(t, 20_000) / (queuers * each)
	seed := testutil.Seed(t)
	defer testutil.Shuffle(t, seed)()
	var d Domain
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			r := d.Register("busy")
			defer r.Close()
			for !stop.Load() {
				runtime.Gosched()
				r.Quiescent()
			}
		})
	}
	busy.Go(func() {
		for !stop.Load() {
			d.Defer(func() {})
			barrier(t, &d)
		}
	})
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := 0; n < rounds && !t.Failed(); n++ {
		var ran atomic.Int32
		var wg sync.WaitGroup
		for range queuers {
			cpu, slow := rng.IntN(percpu.NumCPU()), rng.IntN(each)
			wg.Go(func() {
				onCPU(cpu, func() {
					for i := range each {
						d.Defer(func() {
							if i == slow {
								runtime.Gosched()
							}
							ran.Add(1)
						})
					}
				})
			})
		}
		wg.Wait()
		for range waiters {
			wg.Go(func() {
				barrier(t, &d)
				if n := ran.Load(); n != queuers*each {
					t.Errorf("Barrier returned after %d of %d callbacks", n, queuers*each)
				}
			})
		}
		wg.Wait()
	}
	stop.Store(true)
	busy.Wait()
}
