//go:build race

package slab

import (
	"runtime"

	"github.com/slubd/slubd/internal/mem"
)

// fenceable says that pages can be without access, which Go's heap can't. recordsFrees says that
// tables keep the call stacks of frees.
const (
	fenceable    = false
	recordsFrees = true
)

// The race detector sees the arena, which is Go heap memory in these builds, but not the sequences
// that hand objects over. What orders them for it is told at the address of each object, as package
// slub does.

// loadLink and storeLink load and store a free pointer. The callers, into which they are inlined,
// are not seen by the detector.
//
//go:norace
func loadLink(at *uint64) uint64 { return *at }

//go:norace
func storeLink(at *uint64, v uint64) { *at = v }

// releaseSlab orders the making of a slab before the first Alloc of each object.
func (s *Slabs) releaseSlab(r Ref) {
	for i := range r.objects {
		runtime.RaceReleaseMerge(mem.Ptr(s.Object(r, i)))
	}
}

// acquireSlab orders the last Free of each object before the next use of the slab's pages.
func (s *Slabs) acquireSlab(r Ref) {
	for i := range r.objects {
		runtime.RaceAcquire(mem.Ptr(s.Object(r, i)))
	}
}
