package rcu

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSynchronizeSharesOneReport: every waiter stays until the reader has
// reported, and that one report ends the wait of all.
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
		d.list()[0].Close() // or the worker would wait beyond the test
		if err := d.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.Wait(ctx, d.Start()); err != nil {
			t.Errorf("an ended context spoilt a wait that needs no waiting: %v", err)
		}
	})
}

// TestCallbacksMustNotWait: what would wait for itself is refused inside a
// callback, there only, and only for the callback's own domain.
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
			t.Errorf("what needs no waiting, or another domain's: %v", err)
		}
		r.Offline()
	})
	r.Offline()
	// Meets the callback running or not; neither may confuse it.
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

// TestOutsideWhileCallbackRuns calls from another goroutine in the middle of a
// callback.
func TestOutsideWhileCallbackRuns(t *testing.T) {
	var d Domain
	running, leave := make(chan struct{}), make(chan struct{})
	d.Defer(func() { close(running); <-leave })
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
	close(leave)
	wg.Wait()
}
