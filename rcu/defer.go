package rcu

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/slubd/slubd/internal/percpu"
)

// callback is one entry of the queue.
type callback struct {
	next    *callback // older entry in a stack; younger one in the worker's list
	fn      func()
	token   Token  // must be ready before fn runs; zero: the mark of a Barrier
	objects int    // weight of fn, at least 1; 0 for a mark
	below   weight // of this and all older entries of its stack
}

// Defer runs fn after a grace period that covers everything the caller did before (kernel:
// call_rcu). The period starts at once or, if other callbacks of this CPU are waiting for the
// worker already, when the worker takes them. Defer never blocks and takes no lock. Any goroutine
// may call it, callbacks included.
//
// Callbacks run one at a time, on a goroutine of the domain; those queued on one CPU run in the
// order of the Defer calls. A goroutine may change its CPU at any time, so don't rely on the order
// of its own callbacks. A callback should not block. If it panics, the process crashes with that
// panic; if it ends its goroutine (runtime.Goexit, as testing.T.FailNow does), another one goes on
// with the next callback.
func (d *Domain) Defer(fn func()) { d.DeferN(1, fn) }

// DeferN is Defer for a function that handles the given number of objects, at least 1. The number
// bounds how many callbacks run before the worker yields the CPU, and shows in Stats.
func (d *Domain) DeferN(objects int, fn func()) {
	if fn == nil {
		panic("rcu: Defer of a nil function")
	}
	stacks := d.callbacks.perCPU()
	d.enqueue(&stacks[percpu.CPU()], &callback{fn: fn, token: d.next(), objects: max(objects, 1)})
}

// next returns the token that Start would return, but does not start it: one Start serves many
// callbacks. It does not matter which goroutine starts it. The addition that takes the sequence to
// the token comes after the load here, and so after everything that the caller unlinked before.
func (d *Domain) next() Token { return d.seq.load() + step }

// Barrier waits until every callback that was queued before the call, on any CPU, has run (kernel:
// rcu_barrier). It waits for no grace period when there are no callbacks, and not for callbacks
// queued later. It returns nil, an error that wraps ctx.Err(), ErrInCallback or ErrInReader. Any
// goroutine may call it except an online reader of the domain, for which those callbacks may be
// waiting.
//
// If the caller looks for a callback's work under a lock, the callback must be queued before that
// lock is released. Otherwise the caller finds the work neither under the lock nor with Barrier.
func (d *Domain) Barrier(ctx context.Context) error {
	p := d.callbacks.stacks.Load()
	if p == nil {
		return nil // nothing has ever been queued
	}
	if err := d.mayWait("Barrier"); err != nil {
		return err
	}
	// Every stack is first in, first out, and callbacks run one by one: when a mark's turn comes,
	// all callbacks queued before it on its CPU have returned. Stacks that look empty get a mark,
	// too: their callbacks may just have been taken and not have run.
	var left atomic.Int64
	left.Store(int64(len(*p)))
	passed := make(chan struct{})
	pass := func() {
		if left.Add(-1) == 0 {
			close(passed)
		}
	}
	for i := range *p {
		d.enqueue(&(*p)[i], &callback{fn: pass})
	}
	for {
		select {
		case <-passed:
			return nil
		case <-ctx.Done():
			return d.waitError(ctx)
		case <-lookAgain():
			if err := d.scanStalls(true).selfWait(); err != nil {
				return err
			}
		}
	}
}

// enqueue appends c, and starts a worker if there is none. The first callback on a stack also
// starts its grace period. For those queued behind it, the worker starts one when it takes them.
func (d *Domain) enqueue(s *stack, c *callback) {
	if alone := d.callbacks.push(s, c); alone && c.token != 0 {
		d.seq.raise(c.token)
	}
	if d.callbacks.activate() {
		go (&worker{domain: d}).run()
	}
}

// inCallback reports whether the caller is a callback of the domain. Goroutines have no identity
// in Go's API, so the number printed in stack traces is compared with the worker's. That costs a
// microsecond or two, and only while there is a worker. A goroutine that a callback has started is
// not recognised.
func (d *Domain) inCallback() bool {
	return d.callbacks.active.Load() && d.callbacks.worker.Load() == goroutineID()
}

// goroutineID returns the number after "goroutine " in the caller's stack trace. The runtime never
// uses a number twice.
func goroutineID() (id uint64) {
	var text [32]byte
	n := runtime.Stack(text[:], false)
	for _, c := range text[len("goroutine "):n] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	return id
}
