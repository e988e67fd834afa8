package invariants

import "sync/atomic"

// A Point is a kind of place in the code where an operation is most vulnerable to being interrupted
// by another one on the same goroutine.
type Point int

// The points. At those named Held the goroutine holds a lock.
const (
	StackHeld     Point = iota // a CPU's stack
	BarnHeld                   // a barn's mutex
	NodeHeld                   // a node's list of slabs
	NodeQueueLeft              // has left a nodeQueue of package freequeue, to come back
	Fenced                     // has begun a grace period of sections, and not said which
	NumPoints
)

var interrupt atomic.Pointer[func(Point)]

// Interrupt has f called at every Point that any goroutine reaches, on that goroutine
// and with the lock held, if any, until end is called. One Interrupt at a time.
func Interrupt(f func(Point)) (end func()) {
	interrupt.Store(&f)
	return func() { interrupt.Store(nil) }
}

// Reach calls Interrupt's function, if there is one: the caller is at p. Call sites test Enabled
// first, as for Check.
func Reach(p Point) {
	if f := interrupt.Load(); f != nil {
		(*f)(p)
	}
}
