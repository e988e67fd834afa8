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

// Lock marks the beginning of a section in which the caller uses references.
// Sections nest. It only asserts, in builds with -tags invariants or -race:
// calling it offline or after Close panics, and so do Quiescent, Offline,
// Online and Close inside. In other builds it does nothing at all.
func (r *Reader) Lock() {
	r.mustBeOpen("Lock")
	if r.seen() == offline {
		r.misused("Lock", "while offline")
	}
	r.owner.record()
	r.nesting.depth++
}

// Unlock ends the section that the last Lock began. It only asserts, as Lock.
func (r *Reader) Unlock() {
	r.mustBeOpen("Unlock")
	if r.nesting.depth == 0 {
		r.misused("Unlock", "without Lock")
	}
	r.nesting.depth--
}
