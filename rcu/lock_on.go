//go:build invariants || race

package rcu

// nesting counts how deep the owner is in sections between Lock and Unlock, and in those between
// Enter and Exit. Every method of Reader touches a plain field of it, so that race builds report a
// Reader used by two goroutines at once.
type nesting struct{ depth, entered int }

// outside panics if the caller must not call method: another goroutine has the reader online, or
// the owner is in a section.
func (n *nesting) outside(r *Reader, method string) {
	r.owner.check(r, method)
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
	r.owner.check(r, "Lock")
	if r.seen() == offline {
		r.misused("Lock", "while offline")
	}
	r.owner.record()
	n.depth++
}

func (n *nesting) unlock(r *Reader) {
	r.mustBeOpen("Unlock")
	r.owner.check(r, "Unlock")
	if n.depth == 0 {
		r.misused("Unlock", "without Lock")
	}
	n.depth--
}

func (n *nesting) enter(r *Reader) {
	r.owner.check(r, "Enter")
	n.entered++
	r.owner.record()
}

func (n *nesting) exit(r *Reader) {
	r.mustBeOpen("Exit")
	r.owner.check(r, "Exit")
	if n.entered == 0 {
		r.misused("Exit", "without Enter")
	}
	if n.depth > 0 && r.depth == 0 { // it would make the reader offline
		r.misused("Exit", "inside Lock")
	}
	n.entered--
}

// afterRound panics if a round of Loop has left the reader offline, or in a section.
func (n *nesting) afterRound(r *Reader) {
	const method = "another round of Loop"
	switch {
	case r.seen() == offline:
		r.misused(method, "while offline")
	case n.depth > 0:
		r.misused(method, "inside Lock")
	case n.entered > 0:
		r.misused(method, "between Enter and Exit")
	}
}

// afterWork panics if the work of Run has left the reader in a section, or to another goroutine. A
// Section of the domain may stay open: it needs no reader.
func (n *nesting) afterWork(r *Reader) {
	if !r.closed {
		n.outside(r, "Close")
	}
}
