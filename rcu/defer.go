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
	token   Token  // must be over before fn runs; zero: the mark of a Barrier
	objects int    // weight of fn, at least 1; 0 for a mark
	below   weight // of this and all older entries of its stack
}

// Defer runs fn after a grace period that covers everything the caller did
// before, and that begins at once, or when the callbacks before it run. It never blocks and takes no lock. Any goroutine, callbacks
// included.
//
// Callbacks run one at a time, those queued on one CPU in the order of the Defer calls
// (kernel: call_rcu). As a goroutine may change its CPU any time, the order of its own is
// not to be relied on. They run on a goroutine
// of the domain's. A callback should not block. If it panics, the process
// crashes with that panic; if it ends its goroutine (runtime.Goexit, as
// testing.T.FailNow does), another one goes on with the next callback.
func (d *Domain) Defer(fn func()) { d.DeferN(1, fn) }

// DeferN is Defer for a function that handles that many objects, at least 1.
// The number bounds how many callbacks run before others get the CPU, and
// shows in Stats.
func (d *Domain) DeferN(objects int, fn func()) {
	if fn == nil {
		panic("rcu: Defer of a nil function")
	}
	stacks := d.callbacks.perCPU()
	d.enqueue(&stacks[percpu.CPU()], &callback{fn: fn, token: d.next(), objects: max(objects, 1)})
}

// next returns the token that Start would, without starting it: that is done once for
// many callbacks. It will do as well, whoever does it: the addition that gets the sequence
// there comes after the load here, and so after what the caller has unlinked before.
func (d *Domain) next() Token { return d.seq.load() + step }

// Barrier waits until every callback that was queued before the call, on any CPU, has
// run. It does not wait for a grace period when there are none, nor for
// callbacks queued later. It returns nil, or an error that wraps ctx.Err(),
// or ErrInCallback or ErrInReader. Any goroutine except an online reader of the domain, for
// which those callbacks may be waiting.
//
// What a callback stands for must have been queued before the lock is given back that
// the caller of Barrier takes to look for it. Otherwise Barrier finds it neither there nor
// here.
func (d *Domain) Barrier(ctx context.Context) error {
	p := d.callbacks.stacks.Load()
	if p == nil {
		return nil // nothing has ever been queued
	}
	if err := d.mayWait("Barrier"); err != nil {
		return err
	}
	// Every stack is first in, first out and callbacks run one by one: when a mark's turn
	// comes, all before it on its CPU have returned. Stacks that look empty get one, too:
	// their callbacks may just have been taken, and not have run.
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
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return d.gaveUp(ctx)
	}
}

// enqueue appends c, and starts a worker if there is none. The first on a stack also
// starts its grace period. That of those that come after it, before the worker takes them
// all, is started by the worker.
func (d *Domain) enqueue(s *stack, c *callback) {
	if alone := d.callbacks.push(s, c); alone && c.token != 0 {
		d.seq.raise(c.token)
	}
	if d.callbacks.activate() {
		go (&worker{domain: d}).run()
	}
}

// inCallback reports whether a callback of the domain has called. Goroutines
// have no identity in Go's API, so the one printed in stack traces is compared
// with the worker's; it costs a microsecond or two, and only while there is a
// worker. A goroutine that a callback has started is not recognised.
func (d *Domain) inCallback() bool {
	return d.callbacks.active.Load() && d.callbacks.worker.Load() == goroutineID()
}

// goroutineID returns the number after "goroutine " in the caller's stack
// trace. The runtime never uses one twice.
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
