package rcu

import (
	"context"
	"runtime"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mistakes"
)

// turn is how many objects the worker handles before it lets others run:
// kernel RCU's qhimark, some 100 us of destructors. It counts objects because
// one callback may stand for a sheaf of 60.
const turn = 10_000

// worker runs a domain's callbacks on a goroutine of its own, which begins
// with the first callback and ends with the last.
type worker struct {
	domain *Domain
	todo   *callback // taken from the queue and not yet returned, oldest first
	spent  int       // objects handled in this turn
	ended  bool
}

func (w *worker) run() {
	defer w.handOver()
	w.domain.callbacks.worker.Store(goroutineID())
	for w.more() {
		if mistakes.CallbackEarly {
			w.todo.token = 0
		}
		// Fails only when its context ends.
		_ = w.domain.await(context.Background(), w.todo.token)
		w.todo.fn()
		w.done()
	}
	w.ended = true
}

// more reports whether there is a callback to do. If not, the queue is idle.
func (w *worker) more() bool {
	for w.todo == nil {
		if w.todo = w.domain.callbacks.take(); w.todo == nil && w.domain.callbacks.rest() {
			return false
		}
	}
	return true
}

// done takes the callback that has returned off the list.
func (w *worker) done() {
	c := w.todo
	w.todo = c.next
	if c.objects == 0 {
		return
	}
	w.domain.callbacks.ran.add(c.objects)
	if invariants.Enabled {
		w.domain.check()
	}
	if w.spent += c.objects; w.spent >= turn {
		w.spent = 0
		runtime.Gosched()
	}
}

// handOver starts a successor if the goroutine is ending before its time:
// because a callback called runtime.Goexit, or because one panicked, in which
// case the process is about to crash.
func (w *worker) handOver() {
	if !w.ended {
		w.done()
		go (&worker{domain: w.domain, todo: w.todo}).run()
	}
}
