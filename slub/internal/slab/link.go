package slab

import (
	"math/bits"

	"github.com/slubd/slubd/internal/mem"
)

// The chain of free objects in a slab runs through the objects. Each holds, fp bytes from its
// start, the address of the next one, or 0 at the end.
//
// The address is stored combined with the cache's secret and the bytes, swapped, of the address it
// is stored at. So neither a stray write nor one by an attacker makes the chain lead to an address
// of the writer's choice (kernel: CONFIG_SLAB_FREELIST_HARDENED, freelist_ptr_encode).

// encode returns what is stored at the address at for a link to next. It is its own inverse.
func (s *Slabs) encode(at, next uintptr) uint64 {
	return uint64(next) ^ s.secret ^ bits.ReverseBytes64(uint64(at))
}

// SetNext writes obj's free pointer. The object is free, or the caller's to free: it is linked to
// a list of the caller's then, which Next reads.
//
// The race detector must see neither this write nor the reads below. It does not see what orders
// them: the exchange of the slab's state, which is off-heap.
//
//go:norace
func (s *Slabs) SetNext(obj, next uintptr) {
	at := obj + s.fp
	storeLink(mem.At[uint64](at), s.encode(at, next))
}

// nextInSlab reads the free pointer of an object in a slab's chain. If ok, next is 0 or the start
// of an object's slot within the slab, whatever was written over the pointer. Otherwise next is
// where the pointer leads to.
//
//go:norace
func (s *Slabs) nextInSlab(obj uintptr, r Ref) (next uintptr, ok bool) {
	at := obj + s.fp
	next = uintptr(loadLink(mem.At[uint64](at)) ^ s.secret ^ bits.ReverseBytes64(uint64(at)))
	if next == 0 {
		return 0, true
	}
	return next, next-r.addr < r.Bytes() && s.isStart(next-r.addr)
}

// StoredLink returns the bytes of an object's free pointer, as they are.
//
//go:norace
func (s *Slabs) StoredLink(obj uintptr) uint64 { return loadLink(mem.At[uint64](obj + s.fp)) }

// isStart reports whether an offset in a slab is a multiple of s.size, in one multiplication; see
// percpu.Filter, which also looks for the last object.
func (s *Slabs) isStart(off uintptr) bool { return uint64(off)*s.magic < s.magic }

// SoundLink reports whether the free pointer of an object is one that its slab may have written.
func (s *Slabs) SoundLink(obj uintptr) bool {
	_, ok := s.nextInSlab(obj, s.slabOf(obj))
	return ok
}

// Next reads the free pointer of an object in a list that SetNext made, of objects of any of these
// slabs. If ok, next is 0 or the address of an object, whatever was written over the pointer.
//
//go:norace
func (s *Slabs) Next(obj uintptr) (next uintptr, ok bool) {
	at := obj + s.fp
	next = uintptr(s.encode(at, uintptr(loadLink(mem.At[uint64](at)))))
	return next, next == 0 || s.isObject(next)
}
