package rcu

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/mistakes"
)

// queue holds the callbacks that no worker has taken yet, and knows whether
// there is a worker. It is one lock-free stack rather than one queue per CPU:
// Start, which every Defer needs, already goes through one word for all CPUs,
// and one order for all makes Barrier a matter of one mark.
//
// States of head, and who changes them:
//
//	nil            idle: no worker, nothing queued
//	-> &working    never by itself
//	-> a callback  push; the pusher starts the worker
//	a callback     newest of a stack that ends in nil or &working
//	-> a callback  push
//	-> &working    take, by the worker
//	&working       the worker has everything
//	-> a callback  push
//	-> nil         rest, by the worker, which then ends
type queue struct {
	head   atomic.Pointer[callback]
	queued count // ever queued, marks excepted; atomic
	_      [padding]byte

	working callback      // only its address counts
	worker  atomic.Uint64 // goroutine of the last worker started
	ran     count         // ever returned, marks excepted; atomic, added to by the worker
}

// idle reports that every callback pushed before the call has returned.
func (q *queue) idle() bool {
	head := q.head.Load()
	return head == nil || mistakes.BarrierDuringLast && head == &q.working
}

// push adds c and reports whether the caller has to start a worker.
func (q *queue) push(c *callback) (first bool) {
	for {
		old := q.head.Load()
		c.next = old
		if q.head.CompareAndSwap(old, c) {
			return old == nil // not c.next, which is the worker's by now
		}
	}
}

// take empties the stack and returns its callbacks oldest first. Preconditions:
//   - the caller is the worker.
func (q *queue) take() (oldest *callback) {
	c := q.head.Swap(&q.working)
	for c != nil && c != &q.working {
		c, c.next, oldest = c.next, oldest, c
	}
	return oldest
}

// rest makes the queue idle unless something was pushed since take. Preconditions:
//   - the caller is the worker and all callbacks it took have returned; it
//     ends if rest succeeds.
func (q *queue) rest() bool { return q.head.CompareAndSwap(&q.working, nil) }
