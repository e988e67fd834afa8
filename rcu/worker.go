package rcu

import (
	"context"
	"runtime"

	"github.com/slubd/slubd/internal/invariants"
)

// turn is how many objects the worker handles before it yields the processor: kernel RCU's qhimark,
// some 100 us of destructors. It counts objects because one callback may stand for a sheaf of 60.
const turn = 10_000

// worker runs a domain's callbacks on a goroutine of its own, which starts with the first callback
// and ends after the last.
type worker struct {
	domain *Domain
	todo   *callback // callbacks whose grace period is over, oldest of a CPU first
	batch  batch     // the next callbacks
	spent  int       // objects handled in this turn
	ended  bool      // there is no callback left: no successor is needed
}

// A batch is the callbacks that the worker took from the queue at once. They wait for one grace
// period.
type batch struct {
	first *callback
	token Token // zero if there are only marks
}

func (w *worker) run() {
	defer w.handOver()
	w.domain.callbacks.worker.Store(goroutineID())
	for w.more() {
		w.todo.fn()
		w.done()
	}
	w.ended = true
}

// more reports whether there is a callback to run, in todo. If not, the queue is inactive.
func (w *worker) more() bool {
	for w.todo == nil {
		if w.batch.first == nil {
			w.batch = w.take()
		}
		if w.batch.first == nil {
			if w.domain.callbacks.rest() {
				return false
			}
			continue
		}
		// Fails only when its context ends, and this one never does.
		_ = w.domain.await(context.Background(), w.batch.token, false)
		w.todo = w.batch.first
		// The grace period of the next batch passes while these callbacks run.
		w.batch = w.take()
	}
	return true
}

// take takes all that has been queued, and starts one grace period for it: the last that any of the
// callbacks needs.
func (w *worker) take() batch {
	b := batch{first: w.domain.callbacks.take()}
	for c := b.first; c != nil; c = c.next {
		if c.token != 0 && (b.token == 0 || !reached(b.token, c.token)) {
			b.token = c.token
		}
	}
	if b.token != 0 {
		w.domain.seq.raise(b.token)
	}
	return b
}

// done removes the callback that has returned from the list.
func (w *worker) done() {
	c := w.todo
	w.todo = c.next
	if c.objects == 0 {
		return
	}
	w.domain.callbacks.ran.callbacks.Add(1)
	w.domain.callbacks.ran.objects.Add(uint64(c.objects))
	if invariants.Enabled {
		w.domain.check()
	}
	if w.spent += c.objects; w.spent >= turn {
		w.spent = 0
		runtime.Gosched()
	}
}

// handOver starts another worker goroutine if this one ends too soon: because a callback called
// runtime.Goexit, or because one panicked, in which case the process is about to crash.
func (w *worker) handOver() {
	if !w.ended {
		w.done()
		go (&worker{domain: w.domain, todo: w.todo, batch: w.batch}).run()
	}
}
