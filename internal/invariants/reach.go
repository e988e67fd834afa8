package invariants

import "sync/atomic"

// A Point is a kind of place where an operation is most vulnerable to being
// interrupted by another one on the same goroutine.
type Point int

// The points: somebody holds the lock of that name, or
const (
	StackHeld Point = iota // a CPU's stack
	BarnHeld               // a barn's mutex
	NodeHeld               // a node's list of slabs
	RowLeft                // has left a row of the FreeRCU queue, to come back
	Fenced                 // has begun a grace period of sections, and not said which
	NumPoints
)

var interrupt atomic.Pointer[func(Point)]

// Interrupt has f called at every Point that any goroutine reaches, on that goroutine
// and with the lock held, if any, until end is called. One Interrupt at a time.
func Interrupt(f func(Point)) (end func()) {
	interrupt.Store(&f)
	return func() { interrupt.Store(nil) }
}

// Reach tells that the caller is at p. Call sites guard it with Enabled, as Check.
func Reach(p Point) {
	if f := interrupt.Load(); f != nil {
		(*f)(p)
	}
}
