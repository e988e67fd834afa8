//go:build !race && !asan

package slab

// fenceable says that pages can be without access, which Go's heap can't. recordsFrees says that
// tables keep the call stacks of frees.
const (
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
