//go:build invariants || race

package rcu

// nesting counts how deep the owner is in sections between Lock and Unlock, and in those between
// Enter and Exit. Every method of Reader touches a plain field of it, so that race builds report a
// Reader used by two goroutines at once.
type nesting struct{ depth, entered int }

// outside panics if the owner is in a section, where it must not call method.
func (n *nesting) outside(r *Reader, method string) {
	if n.depth > 0 {
		r.misused(method, "inside Lock")
	}
	if n.entered > 0 {
		r.misused(method, "between Enter and Exit")
	}
	n.depth = 0 // changes nothing; the race detector sees a write
}

// holdsNothing is outside for a method that says that the owner holds no references. A goroutine
// between Enter and Exit holds some.
func (n *nesting) holdsNothing(r *Reader, method string) {
	n.outside(r, method)
	if s := r.domain.sections.Load(); s != nil && s.traces.holds(goroutineID()) {
		r.misused(method, "between Enter and Exit")
	}
}

func (n *nesting) lock(r *Reader) {
	r.mustBeOpen("Lock")
	if r.seen() == offline {
		r.misused("Lock", "while offline")
	}
	r.owner.record()
	n.depth++
}

func (n *nesting) unlock(r *Reader) {
	r.mustBeOpen("Unlock")
	if n.depth == 0 {
		r.misused("Unlock", "without Lock")
	}
	n.depth--
}

func (n *nesting) enter(r *Reader) {
	n.entered++
	r.owner.record()
}

func (n *nesting) exit(r *Reader) {
	r.mustBeOpen("Exit")
	if n.entered == 0 {
		r.misused("Exit", "without Enter")
	}
	n.entered--
}
