package slab

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// The object of a Single slab has a mark in the slab's descriptor: its owner word, without flags,
// while it is in use, and 0 while it is free, be it in the slab, in a sheaf or waiting for a grace
// period. Claim can clear a mark only once. So if two goroutines free an object, only one of them
// succeeds.
//
// Only the holder of an object has the right to change its mark. A goroutine that frees an object
// which it does not hold does no harm. When its slab has gone back, the mark in the page's record
// is 0, since only SetInUse writes an owner word there. If the page becomes a part of another slab
// of this cache, it is the head, since the blocks are aligned to their order; and the words of
// other caches differ.

// SetInUse marks the object that starts at p and is free as in use. A release store is enough: no
// other goroutine has a right to the object, and what frees it has got it from the caller, by a way
// that orders memory.
func (s *Slabs) SetInUse(p unsafe.Pointer) {
	mem.Store32(s.mark(p), uint32(s.arena.Owner(s.pageOf(p)).WithoutFlags()))
}

// SetFree marks the object that starts at p as free, for what has ended its use without Claim.
func (s *Slabs) SetFree(p unsafe.Pointer) { mem.Store32(s.mark(p), 0) }

// Claim marks the object that starts at p as free. It reports whether the object was in use, with
// the owner word o.
func (s *Slabs) Claim(p unsafe.Pointer, o owner.Word) bool {
	word := uint32(o.WithoutFlags())
	return word != 0 && uintptr(p)%mem.PageSize == 0 && atomic.CompareAndSwapUint32(s.mark(p), word, 0)
}

// IsInUse reports whether the object that starts at p is in use, with the owner word o.
func (s *Slabs) IsInUse(p unsafe.Pointer, o owner.Word) bool {
	return atomic.LoadUint32(s.mark(p)) == uint32(o.WithoutFlags())
}

// mark returns the mark in the descriptor of the page that has p.
func (s *Slabs) mark(p unsafe.Pointer) *uint32 {
	return &(*slab)(s.arena.Meta(s.pageOf(p))).inUse
}

// pageOf returns the number of the page that has p.
func (s *Slabs) pageOf(p unsafe.Pointer) uint32 {
	return uint32((uintptr(p) - s.base) >> mem.PageShift)
}
