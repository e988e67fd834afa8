package slab

import (
	"math/rand/v2"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A new slab has no chain. Its objects are handed out for the first time in an order that is
// computed: the objects of the last slabState.untouched places are free, and have no link. So to
// make a slab, and to take such objects from it, reads and writes no object. Their lines are missed
// in the processor's caches once, by the user, and their pages become resident one by one (kernel
// 7.3, dc795d4c0282, which has no list until one is needed; here none is written at all).
//
// An object is untouched until it is handed out, and never again: a free links it into the chain.
// Untouched objects come after the chain, for two reasons. The chain's objects lie on pages that
// are resident. And a refill that takes an untouched object has walked the whole chain before, so
// that it meets an untouched object there which was freed without being out.
//
// The untouched objects of a slab belong to slab.state. A refill takes them with the chain, by one
// compare-and-swap, and what it doesn't need it puts back with the rest of the chain. In between
// the state has none.
//
// The order is that of the addresses or, with Config.Shuffle, the cache's random order from a
// random start, without the objects that a slab of lower order doesn't have (kernel:
// shuffle_freelist).

// randomBegin returns slab.begins for a new slab.
func (s *Slabs) randomBegin() uint16 {
	if s.shuffle == nil {
		return 0
	}
	return uint16(rand.Uint32())
}

// startOf returns where in s.shuffle the order of r starts. slab.begins has it in parts of 65,536,
// as its 16 bits would be too few for the largest slabs.
func (s *Slabs) startOf(r Ref) uint32 {
	return uint32(uint64(r.begins) * uint64(len(s.shuffle)) >> 16)
}

// placed stores in dst the objects from the given place of the order of r on.
func (s *Slabs) placed(r Ref, place uint32, dst []unsafe.Pointer) {
	if s.shuffle != nil {
		s.placedShuffled(r, place, dst)
		return
	}
	obj := s.Object(r, place)
	for i := range dst {
		dst[i] = mem.Ptr(obj)
		obj += s.size
	}
}

func (s *Slabs) placedShuffled(r Ref, place uint32, dst []unsafe.Pointer) {
	n := uint32(len(s.shuffle))
	at := s.startOf(r)
	if r.objects == n {
		at, place = (at+place)%n, 0
	}
	for got := 0; got < len(dst); at = (at + 1) % n {
		switch k := s.shuffle[at]; {
		case k >= r.objects:
		case place > 0:
			place--
		default:
			dst[got] = mem.Ptr(s.Object(r, k))
			got++
		}
	}
}

// placeOf returns the place of a slab's i-th object in the order of r.
func (s *Slabs) placeOf(r Ref, i uint32) (place uint32) {
	if s.shuffle == nil {
		return i
	}
	n, start := uint32(len(s.shuffle)), s.startOf(r)
	if r.objects == n {
		return (s.unshuffle[i] + n - start) % n
	}
	for at := start; s.shuffle[at] != i; at = (at + 1) % n {
		if s.shuffle[at] < r.objects {
			place++
		}
	}
	return place
}

// isUntouched reports whether the i-th object of r is an untouched one of st.
func (s *Slabs) isUntouched(r Ref, st slabState, i uint32) bool {
	return st.untouched > 0 && s.placeOf(r, i) >= r.objects-st.untouched
}

// A reach is where the objects of a slab's chain may lie.
type reach struct {
	end   uintptr // they lie below this offset
	exact bool    // and no untouched object does
}

// reachOf returns that of the chain of st.
func (s *Slabs) reachOf(r Ref, st slabState) reach {
	if s.shuffle == nil {
		return reach{uintptr(r.objects-st.untouched) * s.size, true}
	}
	return reach{uintptr(r.objects) * s.size, st.untouched == 0}
}

// isOutside reports whether the chain of st can't have an object at obj: it is behind the slab's
// objects, or an untouched one.
func (s *Slabs) isOutside(c reach, r Ref, st slabState, obj uintptr) bool {
	off := obj - r.addr
	return off >= c.end || !c.exact && s.isUntouched(r, st, uint32(off/s.size))
}

// takeUntouched stores in dst the first of the untouched objects of st, and returns how many.
func (s *Slabs) takeUntouched(r Ref, st slabState, dst []unsafe.Pointer) int {
	n := min(len(dst), int(st.untouched))
	s.placed(r, r.objects-st.untouched, dst[:n])
	return n
}

// linkUntouched links the last n objects of the order of r, n > 0, in front of the object next,
// which may be 0, and returns the first and the last of them.
//
//go:noinline
func (s *Slabs) linkUntouched(r Ref, n uint32, next uintptr) (head, tail uintptr) {
	var objs [64]unsafe.Pointer
	for end := r.objects; end > r.objects-n; {
		part := objs[:min(n-(r.objects-end), uint32(len(objs)))]
		end -= uint32(len(part))
		s.placed(r, end, part)
		if tail == 0 {
			tail = uintptr(part[len(part)-1])
		}
		for i := len(part) - 1; i >= 0; i-- {
			s.SetNext(uintptr(part[i]), next)
			next = uintptr(part[i])
		}
	}
	return next, tail
}

// markUntouched sets marks[i] for each untouched object i of st.
func (s *Slabs) markUntouched(r Ref, st slabState, marks []bool) {
	var objs [64]unsafe.Pointer
	for left := int(st.untouched); left > 0; {
		part := objs[:min(left, len(objs))]
		s.placed(r, r.objects-uint32(left), part)
		for _, p := range part {
			marks[(uintptr(p)-r.addr)/s.size] = true
		}
		left -= len(part)
	}
}

// markFree sets free[i] for each object i that st counts as free, as far as the chain is sound.
// Nothing takes from the slab meanwhile.
func (s *Slabs) markFree(r Ref, st slabState, free []bool) {
	s.markUntouched(r, st, free)
	for obj, ok := r.first(st), true; obj != 0 && ok; {
		i := (obj - r.addr) / s.size
		if i >= uintptr(r.objects) || free[i] {
			break // damaged
		}
		free[i] = true
		obj, ok = s.nextInSlab(obj, r)
	}
}
