package rcu

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// TestBarrierMissesNothing has goroutines on several CPUs queue callbacks. Then others call
// Barrier, after which every one of those callbacks must have run: the barrier test of the
// kernel's rcutorture. Readers, and callbacks of another goroutine, keep the domain busy, so that
// the callbacks are anywhere between their CPU's queue and their return.
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

// TestBarrierVisitsEveryCPU: Barrier waits for a callback on any CPU, whatever the other CPUs'
// stacks look like, and whatever the worker has taken already.
func TestBarrierVisitsEveryCPU(t *testing.T) {
	var d Domain
	stacks := d.callbacks.perCPU()
	for i := range 4 * len(stacks) { // all pairs would take minutes with hundreds of possible CPUs
		cpu := i / 4
		first := [4]int{0, cpu, (cpu + 1) % len(stacks), len(stacks) - 1}[i%4]
		for _, taken := range []bool{false, true} {
			before, running, resume := make(chan struct{}), make(chan struct{}), make(chan struct{})
			d.Defer(func() {
				close(before)
				if !taken {
					<-resume
				}
				// With taken the worker takes the next callback, and its stack looks empty.
			})
			<-before
			if !taken {
				d.callbacks.first = first // the worker is in the callback
			}
			var returned atomic.Bool
			d.enqueue(&stacks[cpu], &callback{token: d.next(), objects: 1, fn: func() {
				if taken {
					close(running)
					<-resume
				}
				time.Sleep(time.Millisecond) // a Barrier that doesn't wait returns meanwhile
				returned.Store(true)
			}})
			if taken {
				<-running
			}
			var wg sync.WaitGroup
			queued := d.callbacks.queued()
			wg.Go(func() {
				barrier(t, &d)
				if !returned.Load() {
					t.Errorf("Barrier has returned before the callback of CPU %d, taken: %v", cpu, taken)
				}
			})
			for d.callbacks.queued() == queued && marks(stacks) < len(stacks)-1 {
				runtime.Gosched()
			}
			close(resume)
			wg.Wait()
		}
	}
}

// marks counts the stacks that have a Barrier's mark on top.
func marks(stacks []stack) (n int) {
	for i := range stacks {
		if c := stacks[i].head.Load(); c != nil && c.objects == 0 {
			n++
		}
	}
	return n
}
