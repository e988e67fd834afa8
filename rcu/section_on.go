//go:build invariants || race

package rcu

// section counts how deep the owner is in read-side sections. It is a plain
// field that every method of Reader touches, so that race builds report a
// Reader used by two goroutines at once.
type section struct{ depth int }

// outside panics if the owner is in a section, where method has no place.
func (s *section) outside(r *Reader, method string) {
	if s.depth > 0 {
		r.misused(method, "inside Lock")
	}
	s.depth = 0 // no news but to the race detector
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
	r.section.depth++
}

// Unlock ends the section that the last Lock began. It only asserts, as Lock.
func (r *Reader) Unlock() {
	r.mustBeOpen("Unlock")
	if r.section.depth == 0 {
		r.misused("Unlock", "without Lock")
	}
	r.section.depth--
}
