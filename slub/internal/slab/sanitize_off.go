//go:build !race && !asan

package slab

import "github.com/slubd/slubd/internal/invariants"

// exactMarks says that of two goroutines that free an object at the same instant only one finds it
// in use. fenceable says that pages can be without access, which Go's heap can't. recordsFrees says
// that tables keep the call stacks of frees.
const (
	exactMarks   = invariants.Enabled
	fenceable    = true
	recordsFrees = false
)

// loadLink and storeLink load and store a free pointer.
func loadLink(at *uint64) uint64     { return *at }
func storeLink(at *uint64, v uint64) { *at = v }

// releaseSlab and acquireSlab tell a sanitizer of the build that a slab was made, and that it goes
// back to the arena.
func (s *Slabs) releaseSlab(Ref) {}
func (s *Slabs) acquireSlab(Ref) {}
