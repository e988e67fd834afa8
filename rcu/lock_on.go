//go:build invariants || race

package rcu

// nesting counts how deep the owner is in sections between Lock and Unlock. It is a plain
// field that every method of Reader touches, so that race builds report a
// Reader used by two goroutines at once.
type nesting struct{ depth int }

// outside panics if the owner is in a section, where method has no place.
func (n *nesting) outside(r *Reader, method string) {
	if n.depth > 0 {
		r.misused(method, "inside Lock")
	}
	n.depth = 0 // no news but to the race detector
}

// reports is outside for a method that says that the owner holds nothing: what it has
// found after an Enter it does hold.
func (n *nesting) reports(r *Reader, method string) {
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
