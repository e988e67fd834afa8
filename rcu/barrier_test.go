package rcu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// TestBarrierMissesNothing has goroutines queue callbacks, then others call
// Barrier, after which every one of those callbacks must have run: the
// barrier test of the kernel's rcutorture. Readers and a stranger's callbacks
// keep the domain busy.
func TestBarrierMissesNothing(t *testing.T) {
	const queuers, each, waiters = 3, 20, 2
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
	for range testutil.Stress(t, 30_000) / (queuers * each) {
		if t.Failed() {
			break
		}
		var ran atomic.Int32
		var wg sync.WaitGroup
		for range queuers {
			wg.Go(func() {
				for range each {
					d.Defer(func() { ran.Add(1) })
				}
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
