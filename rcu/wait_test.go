package rcu

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSynchronizeSharesOneReport: every waiter waits until the reader has reported, and one report
// ends the wait of all.
func TestSynchronizeSharesOneReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		r := d.Register("reader")
		var back atomic.Int32
		for range 20 {
			go func() {
				if err := d.Synchronize(t.Context()); err != nil {
					t.Error(err)
				}
				back.Add(1)
			}()
		}
		time.Sleep(time.Second)
		if n := back.Load(); n != 0 {
			t.Errorf("%d waiters came back before the reader had reported", n)
		}
		r.Quiescent()
		time.Sleep(longestPause)
		synctest.Wait()
		if n := back.Load(); n != 20 {
			t.Errorf("%d of 20 waiters came back", n)
		}
	})
}

func TestWaitHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.Register("stuck-17")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, wait := range map[string]func() error{
			"Synchronize": func() error { return d.Synchronize(ctx) },
			"Wait":        func() error { return d.Wait(ctx, d.Start()) },
			"Barrier":     func() error { d.Defer(func() {}); return d.Barrier(ctx) },
		} {
			err := wait()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stuck-17") {
				t.Errorf("%s: %v", name, err)
			}
		}
		d.list()[0].Close() // otherwise the worker would still wait after the test
		if err := d.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.Wait(ctx, d.Start()); err != nil {
			t.Errorf("an ended context fails a Wait that need not wait: %v", err)
		}
	})
}

// TestCallbacksMustNotWait: a callback gets an error from calls that would wait for itself. Other
// goroutines, and calls for other domains, don't.
func TestCallbacksMustNotWait(t *testing.T) {
	var d, other Domain
	ctx := t.Context()
	r := d.Register("reader")
	token := d.Start()
	got := map[string]error{}
	d.Defer(func() {
		got["Barrier"] = d.Barrier(ctx)
		got["Synchronize"] = d.Synchronize(ctx)
		r.Online()
		got["Wait"] = d.Wait(ctx, d.Start())
		if err := errors.Join(d.Wait(ctx, token), other.Barrier(ctx), other.Synchronize(ctx)); err != nil {
			t.Errorf("a call that need not wait, or is for another domain: %v", err)
		}
		r.Offline()
	})
	r.Offline()
	// The callback may be running now, or not. Neither may confuse these calls.
	if err := errors.Join(d.Synchronize(ctx), d.Barrier(ctx)); err != nil {
		t.Errorf("outside a callback: %v", err)
	}
	for name, err := range got {
		if !errors.Is(err, ErrInCallback) {
			t.Errorf("%s in a callback: %v", name, err)
		}
	}
	if len(got) != 3 {
		t.Error("the callback has not run to its end")
	}
}

// TestOutsideWhileCallbackRuns: another goroutine than the callback's may wait while a callback
// runs.
func TestOutsideWhileCallbackRuns(t *testing.T) {
	var d Domain
	running, resume := make(chan struct{}), make(chan struct{})
	d.Defer(func() { close(running); <-resume })
	<-running
	if err := d.Synchronize(t.Context()); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
	})
	close(resume)
	wg.Wait()
}

// TestExpediteWakesSleepers: Expedite wakes waiters that sleep between two looks, and they find the
// grace period over before their timers end.
func TestExpediteWakesSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		r := d.Register("slow")
		token := d.Start()
		var back atomic.Int32
		for range 3 {
			go func() {
				if err := d.Wait(t.Context(), token); err != nil {
					t.Error(err)
				}
				back.Add(1)
			}()
		}
		ran := false
		d.Defer(func() { ran = true })
		time.Sleep(time.Second) // all are at their longest pause
		synctest.Wait()
		now := time.Now()
		r.Offline()
		synctest.Wait()
		if back.Load() != 0 || ran {
			t.Error("the waiters don't sleep")
		}
		r.Online()
		last := d.Start()
		d.Expedite(last)
		d.Expedite(last) // once is enough
		synctest.Wait()
		if back.Load() != 3 || !ran || !time.Now().Equal(now) {
			t.Errorf("%d of 3 waiters are back, callback has run: %v, after %v", back.Load(), ran, time.Since(now))
		}
		r.Offline()
		if err := d.SynchronizeExpedited(t.Context()); err != nil {
			t.Error(err)
		}
		if s := d.Stats(); s.Expedited != 1 {
			t.Errorf("%d expedited", s.Expedited)
		}
	})
}

// TestReadersYieldToWaiters: with one processor, and a reader that never gives it up, a waiter gets
// the processor after a few reports, and not only when the runtime preempts the reader. The same
// holds when that reader has reported already and another is late.
func TestReadersYieldToWaiters(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var d Domain
	var stop atomic.Bool
	var reports atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		r := d.Register("hog")
		defer r.Close()
		for !stop.Load() {
			if d.waitersNeedCPU.Load() > 0 {
				reports.Add(1)
			}
			r.Quiescent()
		}
	})
	wg.Go(func() {
		r := d.Register("late")
		defer r.Close()
		for !stop.Load() {
			for range 10 {
				runtime.Gosched()
			}
			r.Quiescent()
		}
	})
	for d.Stats().Online < 2 {
		runtime.Gosched()
	}
	// Sometimes the runtime preempts the waiter itself, so half of the waits are enough. A wait
	// without any report counts for nothing: its waiter has not said that it needs the processor.
	const waits, few = 20, 5000 // 10 ms of reports are a million
	short := 0
	for range waits {
		before := reports.Load()
		if err := d.Synchronize(t.Context()); err != nil {
			t.Error(err)
		}
		if n := reports.Load() - before; 0 < n && n < few {
			short++
		}
	}
	if short < waits/2 {
		t.Errorf("%d of %d grace periods ended after few reports, %d in all", short, waits, reports.Load())
	}
	stop.Store(true)
	wg.Wait()
}

// TestExpeditedHonoursContext: a waiter that spins for long looks at its context before and
// meanwhile. Each spin advances the sequence, so they can be counted.
func TestExpeditedHonoursContext(t *testing.T) {
	t.Run("over before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		testSpins(t, ctx, 1, 2) // Start advances the sequence, too
	})
	t.Run("over meanwhile", func(t *testing.T) {
		const looks = 10 // one of them before the first spin
		ctx := &endingContext{Context: t.Context(), looks: looks, done: make(chan struct{})}
		close(ctx.done)
		testSpins(t, ctx, (looks-1)*spinsPerCheck, 2*looks*spinsPerCheck)
	})
}

// An endingContext reports that it has ended only after some calls of Err.
type endingContext struct {
	context.Context
	looks int
	done  chan struct{}
}

func (c *endingContext) Done() <-chan struct{} { return c.done }

func (c *endingContext) Err() error {
	if c.looks--; c.looks > 0 {
		return nil
	}
	return context.Canceled
}

// testSpins has a goroutine wait for a stuck reader. It must spin as often as the bounds say.
func testSpins(t *testing.T, ctx context.Context, least, most uint64) {
	var d Domain
	r := d.Register("stuck")
	defer r.Close()
	errs := make(chan error)
	before := d.seq.load()
	go func() { errs <- d.SynchronizeExpedited(ctx) }() // not on the reader's goroutine
	if err := <-errs; err == nil || !errors.Is(err, ctx.Err()) {
		t.Errorf("returned %v", err)
	}
	if spins := uint64(d.seq.load()-before) / step; spins < least || spins > most {
		t.Errorf("spun %d times until the context had ended, want %d to %d", spins, least, most)
	}
}
