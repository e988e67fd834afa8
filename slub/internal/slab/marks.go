package slab

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// A Mark says whether the user of the cache holds an object.
type Mark uint8

// The marks. A free object keeps the mark that says how it came to be free until it is allocated.
const (
	Free          Mark = percpu.MarkFree  // it was freed, or never allocated
	InUse         Mark = percpu.MarkInUse // its user holds it
	GivenRCU      Mark = 2                // it was given to FreeRCU
	GivenDeferred Mark = 3                // it was given to FreeDeferred
	Poisoned      Mark = 4                // it is free, with the bytes that a debug cache gives it
)

// Objects have marks if Config.Exts or Config.Marks has a table for them, the former if both have.
// Those of Single slabs have one in any case: a
// word in the slab's descriptor, if there is no table. That one holds the object's owner word while
// the object is in use, and 0 while it is free, be it in the slab, in a sheaf or waiting for a
// grace period.
//
// Claim succeeds once for each SetInUse, so of two frees of an object one is refused, also of two
// at the same instant.
//
// Only the holder of an object has the right to change its mark. The caller of Claim has checked
// that an object of these slabs starts there. A goroutine that frees an object which it does not
// hold may be so late that the slab has gone back since, and its page lies in another one. Without
// a table it does no harm even then: the mark in the page's record is 0, since only SetInUse writes
// an owner word there; if the page becomes a part of another slab of this cache, it is the head,
// since the blocks are aligned to their order; and the words of other caches differ. In a table it
// may find the mark of another object in use there. The free of that object, which is right, is
// then the one that is refused.

// SetInUse marks the object that starts at p as in use. ok is false if it is in use already, which
// a table shows. Without a table a release store is enough: no other goroutine has a right to the
// object, and what frees it has got it from the caller, by a way that orders memory.
func (s *Slabs) SetInUse(p unsafe.Pointer) (ok bool) {
	if s.exts != nil {
		return s.exts.swap(uintptr(p), false, InUse) != InUse
	}
	if s.marks != nil {
		return s.marks.swap(uintptr(p), false, InUse) != InUse
	}
	mem.Store32(s.mark(p), uint32(s.arena.Owner(s.pageOf(p)).WithoutFlags()))
	return true
}

// SetFree marks the object that starts at p as free if it is in use, for what has ended its use
// without Claim.
func (s *Slabs) SetFree(p unsafe.Pointer) {
	if s.exts != nil {
		s.exts.swap(uintptr(p), true, Free)
		return
	}
	if s.marks != nil {
		s.marks.swap(uintptr(p), true, Free)
		return
	}
	mem.Store32(s.mark(p), 0)
}

// SetPoisoned marks the object that starts at p, which is free, as one whose bytes are those of a
// free object. It is for a cache with a table, which looks at the mark under a lock of its own.
func (s *Slabs) SetPoisoned(p unsafe.Pointer) {
	s.marks.swap(uintptr(p), false, Poisoned)
}

// Claim marks the object that starts at p as free, in the way that to says. It reports whether the
// object was in use, with the owner word o.
func (s *Slabs) Claim(p unsafe.Pointer, o owner.Word, to Mark) bool {
	if s.exts != nil {
		return s.exts.swap(uintptr(p), true, to) == InUse
	}
	if s.marks != nil {
		return s.marks.swap(uintptr(p), true, to) == InUse
	}
	word := uint32(o.WithoutFlags())
	return word != 0 && uintptr(p)%mem.PageSize == 0 && atomic.CompareAndSwapUint32(s.mark(p), word, 0)
}

// MarkOf returns the mark of the object that starts at p, which has the owner word o.
func (s *Slabs) MarkOf(p unsafe.Pointer, o owner.Word) Mark {
	switch {
	case s.exts != nil:
		return s.exts.load(uintptr(p)).Mark()
	case s.marks != nil:
		return s.marks.Load(uintptr(p))
	case atomic.LoadUint32(s.mark(p)) == uint32(o.WithoutFlags()):
		return InUse
	}
	return Free
}

// ObjectMarks returns what sequences have to know of the marks, for objects whose first n bytes
// are zero while they are free. The slabs have a table of Config.Marks, and none of Config.Exts.
func (s *Slabs) ObjectMarks(n uintptr) percpu.ObjectMarks {
	return percpu.NewObjectMarks(s.marks.base, s.marks.first, s.marks.shift, n)
}

// Marks returns the table of Config.Marks, or nil.
func (s *Slabs) Marks() *MarkTable { return s.marks }

// Exts returns the table of Config.Exts, or nil.
func (s *Slabs) Exts() *ExtTable { return s.exts }

// mark returns the mark in the descriptor of the page that has p.
func (s *Slabs) mark(p unsafe.Pointer) *uint32 {
	return &(*slab)(s.arena.Meta(s.pageOf(p))).inUse
}

// pageOf returns the number of the page that has p.
func (s *Slabs) pageOf(p unsafe.Pointer) uint32 {
	return uint32((uintptr(p) - s.base) >> mem.PageShift)
}
