//go:build race

package slab

import (
	"runtime"

	"github.com/slubd/slubd/internal/mem"
)

// The race detector sees the arena, which is Go heap memory in these builds, but not the sequences
// that hand objects over. What orders them for it is told at the address of each object, as package
// slub does.

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
