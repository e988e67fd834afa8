//go:build !invariants && !race

package rcu

// nesting is empty in builds without invariants.
type nesting struct{}

func (nesting) outside(*Reader, string) {}
func (nesting) reports(*Reader, string) {}

// Lock marks the beginning of a section in which the caller uses references.
// Sections nest. It only asserts, in builds with -tags invariants or -race:
// calling it offline or after Close panics, and so do Quiescent, Offline,
// Online and Close inside. In other builds it does nothing at all.
func (r *Reader) Lock() {}

// Unlock ends the section that the last Lock began. It only asserts, as Lock.
func (r *Reader) Unlock() {}
