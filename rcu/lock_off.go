//go:build !invariants && !race

package rcu

// nesting is empty in builds without invariants.
type nesting struct{}

func (nesting) outside(*Reader, string)      {}
func (nesting) holdsNothing(*Reader, string) {}
func (nesting) lock(*Reader)                 {}
func (nesting) unlock(*Reader)               {}
func (nesting) enter(*Reader)                {}
func (nesting) exit(*Reader)                 {}
func (nesting) afterRound(*Reader)           {}
func (nesting) afterWork(*Reader)            {}
