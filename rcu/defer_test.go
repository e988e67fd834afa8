package rcu

import (
	"context"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// barrier calls Barrier, which must succeed. The minute is for a worker that has ended too soon.
func barrier(t *testing.T, d *Domain) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.Barrier(ctx); err != nil {
		t.Error(err)
	}
}

func TestDeferWaitsForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.OnStall(-1, nil)
		r := d.Register("reader")
		ran := false
		d.Defer(func() { ran = true })
		time.Sleep(time.Minute)
		if ran {
			t.Error("ran while the reader could still hold something")
		}
		r.Offline()
		barrier(t, &d)
		if !ran {
			t.Error("has not run after the reader's report")
		}
	})
}

// TestCallbacksKeepTheirOrder has goroutines queue numbered callbacks, each on a CPU of its own,
// while workers start and end. The race detector watches the plain variables.
func TestCallbacksKeepTheirOrder(t *testing.T) {
	var d Domain
	stacks := d.callbacks.perCPU()
	each := testutil.Stress(t, 200_000) / len(stacks)
	next := make([]int, len(stacks))
	var wg sync.WaitGroup
	for cpu := range stacks {
		wg.Go(func() {
			for i := range each {
				d.enqueue(&stacks[cpu], &callback{token: d.next(), objects: 1, fn: func() {
					if next[cpu] != i {
						t.Errorf("CPU %d: callback %d ran in place of %d", cpu, i, next[cpu])
					}
					next[cpu]++
				}})
				if i%20 == cpu {
					barrier(t, &d) // let the queue run empty
				}
			}
		})
	}
	wg.Wait()
	barrier(t, &d)
	for cpu, n := range next {
		if n != each {
			t.Errorf("CPU %d: %d of %d callbacks have run", cpu, n, each)
		}
	}
}

func TestCallbacksMayDefer(t *testing.T) {
	var d Domain
	done := make(chan struct{})
	left := 1000
	var again func()
	again = func() {
		if left--; left == 0 {
			close(done)
			return
		}
		d.Defer(again)
	}
	d.Defer(again)
	<-done
}

// TestBarrierAloneNeedsNoGracePeriod: with no callback queued there is nothing to wait for, even
// if a reader is stuck.
func TestBarrierAloneNeedsNoGracePeriod(t *testing.T) {
	var d Domain
	d.Register("stuck")
	d.Start()
	barrier(t, &d)
}

// TestBarrierOutlastsTheRunningCallback: the queue is empty while its last callback runs, but
// Barrier waits until the callback has returned.
func TestBarrierOutlastsTheRunningCallback(t *testing.T) {
	var d Domain
	running, returned := make(chan struct{}), false
	d.Defer(func() {
		close(running)
		time.Sleep(2 * time.Millisecond)
		returned = true
	})
	<-running
	barrier(t, &d)
	if !returned {
		t.Error("Barrier did not wait for the callback that was running")
	}
}

// TestIdleDomainHasNoGoroutine: the worker ends with its last callback.
func TestIdleDomainHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		r := d.Register("slow")
		d.Defer(func() {})
		synctest.Wait() // the worker sleeps
		if workers() != 1 {
			t.Errorf("%d workers wait for the reader", workers())
		}
		r.Close()
		barrier(t, &d)
		synctest.Wait() // every other goroutine has ended or sleeps
		if workers() != 0 {
			t.Error("a worker has outlived its callbacks")
		}
	})
}

// workers counts the goroutines of the caller's synctest bubble that run callbacks. Those of
// earlier tests may not have ended yet.
func workers() (n int) {
	text := make([]byte, 1<<20)
	all := strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n")
	bubble := inBubble.FindString(all[0]) // of the caller, which comes first
	for _, goroutine := range all {
		if inBubble.FindString(goroutine) == bubble && strings.Contains(goroutine, "rcu.(*worker).run(") {
			n++
		}
	}
	return n
}

var inBubble = regexp.MustCompile(`synctest bubble \d+`)

// TestTurnsAreBounded: with one CPU, another goroutine runs between callbacks that fill a turn
// each.
func TestTurnsAreBounded(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var d Domain
	const callbacks = 8
	ran, seen := 0, map[int]bool{}
	for range callbacks {
		d.DeferN(turn, func() { ran++ })
	}
	for !seen[callbacks] {
		seen[int(d.Stats().Callbacks)] = true
		runtime.Gosched()
	}
	if len(seen) < callbacks/2 {
		t.Errorf("the other goroutine ran only after %v callbacks", seen)
	}
	barrier(t, &d)
	if ran != callbacks {
		t.Errorf("%d callbacks have run", ran)
	}
}

// TestRestLooksAgain: a push while the worker decides to end finds the queue active and starts no
// worker, so the worker must find the callback.
func TestRestLooksAgain(t *testing.T) {
	var q queue
	s := &q.perCPU()[0]
	if !q.activate() || q.activate() {
		t.Fatal("not one worker")
	}
	q.push(s, &callback{objects: 1})
	if q.activate() || q.rest() {
		t.Error("a callback is left without a worker")
	}
	if q.take() == nil || !q.rest() || !q.activate() {
		t.Error("the queue doesn't rest")
	}
}

func TestGoexitLosesNoCallback(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	ran := 0
	for range 3 {
		d.Defer(func() { ran++; runtime.Goexit() })
		d.Defer(func() { ran++ })
	}
	r.Close()
	barrier(t, &d)
	if s := d.Stats(); ran != 6 || s.Callbacks != 6 || s.Pending != 0 {
		t.Errorf("%d of 6 callbacks have run: %+v", ran, s)
	}
}

func TestPanicInCallbackCrashes(t *testing.T) {
	out, isChild, err := testutil.Rerun(t)
	if isChild {
		var d Domain
		d.Defer(func() { panic("broken destructor") })
		select {}
	}
	if err == nil || !strings.Contains(out, "panic: broken destructor") || !strings.Contains(out, "TestPanicInCallbackCrashes") {
		t.Errorf("the process ended with %v and printed\n%s", err, out)
	}
}

func TestDeferNilFunction(t *testing.T) {
	var d Domain
	wantPanic(t, "nil function", func() { d.Defer(nil) })
}
