package slub

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A slab is one page run cut into objects of one cache. This is its descriptor, in
// the arena's record of the run's head page (kernel: struct slab).
//
// state packs what an operation must change in one step: where the chain of free
// objects starts, and how many objects are out. An object in a sheaf is out.
//
//	0 <= inuse <= objects; the chain has objects - inuse members
//
// On a node's partial list, at rest, are exactly the slabs with a chain. Between
// taking a slab off the list and emptying its chain, a refill owns it privately:
// it has a chain and is not listed, and frees that see so leave the list alone.
type slab struct {
	state   atomic.Uint64
	next    uint32 // link to the next slab on the partial list, 0 for none
	prev    uint32 // the one before; both under the node's mu
	objects uint32 // in the slab, constant
	order   uint8  // of the run, constant
	node    uint8  // index of its node, constant
	listed  bool   // on the partial list; under the node's mu
	_       uint8
	_       uint64
}

const (
	_ = 32 - unsafe.Sizeof(slab{})
	_ = unsafe.Sizeof(slab{}) - 32
)

// slabState is slab.state taken apart.
type slabState struct {
	free  uintptr // offset of the first free object plus 8, 0 for none
	inuse uint32  // objects that are out
}

const freeBits = 32

func unpack(w uint64) slabState {
	return slabState{free: uintptr(w & (1<<freeBits - 1)), inuse: uint32(w >> freeBits)}
}

func (s slabState) pack() uint64 { return uint64(s.free) | uint64(s.inuse)<<freeBits }

// A slabRef is a slab together with where it lies.
type slabRef struct {
	*slab
	page uint32
	addr uintptr
}

func (s slabRef) bytes() uintptr { return mem.PageSize << s.order }

func (s slabRef) load() slabState { return unpack(s.state.Load()) }

// first returns the address of the first free object of st, 0 for none.
func (s slabRef) first(st slabState) uintptr {
	if st.free == 0 {
		return 0
	}
	return s.addr + st.free - 8
}

// starting returns the chain offset for an object, 0 for none.
func (s slabRef) starting(obj uintptr) uintptr {
	if obj == 0 {
		return 0
	}
	return obj - s.addr + 8
}

// slabAt is the slab whose run has the given head page.
func (l *layer) slabAt(page uint32) slabRef {
	return slabRef{(*slab)(l.arena.Meta(page)), page, l.arena.Addr(page)}
}

// slabOf is the slab around an object that is known to be one of this cache's.
func (l *layer) slabOf(obj uintptr) slabRef {
	page := uint32((obj - l.base) >> mem.PageShift)
	head := page &^ (1<<l.order - 1)
	if l.fallbacks.Load() == 0 {
		return l.slabAt(head)
	}
	head, _, _ = l.arena.Head(page)
	return l.slabAt(head)
}
