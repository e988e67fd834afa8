package rcu

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/percpu"
)

// queue holds the callbacks that no worker has taken yet, in a stack per CPU, and knows whether
// there is a worker.
//
//	push   onto a stack; then, if the queue is inactive, make it active and start the worker
//	take   by the worker: empty all stacks, one after the other
//	rest   by the worker: make the queue inactive; then, if a stack is not empty, active again
//
// A push stores a stack's head and then loads active; a rest stores active and then loads the
// heads. So one of them sees the other, and no callback is left without a worker.
type queue struct {
	stacks atomic.Pointer[[]stack] // one per possible CPU; nil before the first Defer
	active atomic.Bool             // there is a worker
	worker atomic.Uint64           // goroutine of the last worker started
	_      [padding]byte

	first int   // CPU that the last take began with; worker only
	taken count // callbacks ever taken, without marks; atomic, added to by the worker
	ran   count // callbacks that have returned, without marks; atomic, added to by the worker
}

// A stack belongs to one CPU, so that Defer on one CPU doesn't take cache lines from another.
type stack struct {
	head atomic.Pointer[callback] // newest; taken as a whole
	_    [padding]byte
}

// perCPU returns the stacks. The first call makes them.
func (q *queue) perCPU() []stack {
	if p := q.stacks.Load(); p != nil {
		return *p
	}
	all := make([]stack, percpu.NumCPU())
	q.stacks.CompareAndSwap(nil, &all)
	return *q.stacks.Load()
}

// push adds c to a CPU's stack and reports whether the stack was empty. The caller calls activate
// next.
func (q *queue) push(s *stack, c *callback) (alone bool) {
	c.below.add(c.objects)
	for own := c.below; ; c.below = own {
		old := s.head.Load()
		if c.next = old; old != nil {
			c.below.callbacks += old.below.callbacks
			c.below.objects += old.below.objects
		}
		if s.head.CompareAndSwap(old, c) {
			return old == nil
		}
	}
}

// activate reports whether the caller has to start a worker.
func (q *queue) activate() bool { return !q.active.Load() && q.active.CompareAndSwap(false, true) }

// take empties the stacks and returns their callbacks, CPU by CPU, those of each CPU oldest first.
// The CPUs take turns to come first. The caller is the worker.
func (q *queue) take() (first *callback) {
	end, stacks := &first, *q.stacks.Load()
	q.first = (q.first + 1) % len(stacks)
	for i := range stacks {
		c := stacks[(q.first+i)%len(stacks)].head.Swap(nil)
		if c == nil {
			continue
		}
		q.taken.callbacks.Add(c.below.callbacks)
		q.taken.objects.Add(c.below.objects)
		youngest, oldest := c, (*callback)(nil)
		for c != nil {
			c, c.next, oldest = c.next, oldest, c
		}
		*end, end = oldest, &youngest.next
	}
	return first
}

// rest makes the queue inactive unless something was pushed since take. The caller is the worker,
// and all callbacks that it took have returned; it ends if rest succeeds.
func (q *queue) rest() bool {
	q.active.Store(false)
	return q.empty() || !q.active.CompareAndSwap(false, true)
}

func (q *queue) empty() bool {
	for i := range *q.stacks.Load() {
		if (*q.stacks.Load())[i].head.Load() != nil {
			return false
		}
	}
	return true
}

// queued returns how many callbacks have ever been queued. Callbacks that are being taken may count
// twice, or not at all; every callback that has run counts.
func (q *queue) queued() (n weight) {
	if p := q.stacks.Load(); p != nil {
		for i := range *p {
			if c := (*p)[i].head.Load(); c != nil {
				n.callbacks += c.below.callbacks
				n.objects += c.below.objects
			}
		}
	}
	n.callbacks += q.taken.callbacks.Load()
	n.objects += q.taken.objects.Load()
	return n
}

// weight is a number of callbacks and of the objects they handle.
type weight struct{ callbacks, objects uint64 }

// add counts a callback, unless it is a mark, which has no objects.
func (w *weight) add(objects int) {
	if objects > 0 {
		w.callbacks++
		w.objects += uint64(objects)
	}
}

// count is an atomic weight.
type count struct{ callbacks, objects atomic.Uint64 }
