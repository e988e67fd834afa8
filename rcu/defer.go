package rcu

import (
	"context"
	"runtime"
	"sync/atomic"
)

// callback is one entry of the queue.
type callback struct {
	next    *callback // older entry in queue.head's stack; younger one in the worker's list
	fn      func()
	token   Token // must be over before fn runs; zero: the mark of a Barrier
	objects int   // weight of fn, at least 1; 0 for a mark
}

// Defer runs fn after a grace period that covers everything the caller did
// before. It never blocks and takes no lock. Any goroutine, callbacks
// included.
//
// Callbacks run one at a time in the order of the Defer calls, on a goroutine
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
	objects = max(objects, 1)
	// Counted before it is queued, so that no more are ever invoked than queued.
	d.callbacks.queued.add(objects)
	d.enqueue(&callback{fn: fn, token: d.Start(), objects: objects})
}

// Barrier waits until every callback that was queued before the call has
// run. It does not wait for a grace period when there are none, nor for
// callbacks queued later. It returns nil, or an error that wraps ctx.Err(),
// or ErrInCallback. Any goroutine except an online reader of the domain, for
// which those callbacks may be waiting.
func (d *Domain) Barrier(ctx context.Context) error {
	if d.callbacks.idle() {
		return nil
	}
	if d.inCallback() {
		return ErrInCallback
	}
	// The queue is first in, first out, and its callbacks run one by one: when
	// the mark's turn comes, all before it have returned.
	passed := make(chan struct{})
	d.enqueue(&callback{fn: func() { close(passed) }})
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return d.gaveUp(ctx)
	}
}

// enqueue appends c, and starts a worker if there is none.
func (d *Domain) enqueue(c *callback) {
	if d.callbacks.push(c) {
		go (&worker{domain: d}).run()
	}
}

// inCallback reports whether a callback of the domain has called. Goroutines
// have no identity in Go's API, so the one printed in stack traces is compared
// with the worker's; it costs a microsecond or two, and only while there is a
// worker. A goroutine that a callback has started is not recognised.
func (d *Domain) inCallback() bool {
	id := d.callbacks.worker.Load()
	return id != 0 && !d.callbacks.idle() && id == goroutineID()
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

// count is a number of callbacks and of the objects they handle.
type count struct{ callbacks, objects atomic.Uint64 }

func (c *count) add(objects int) {
	c.callbacks.Add(1)
	c.objects.Add(uint64(objects))
}
