package slab

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// A slab is one page run cut into objects of one cache. This is its descriptor, in
// the arena's record of the run's head page (kernel: struct slab).
//
// state packs what an operation must change in one step: where the chain of free
// objects starts, how many objects were never handed out, and how many are out. An object in a
// sheaf is out.
//
//	0 <= inuse + untouched <= objects; the chain has objects - inuse - untouched members
//
// On a node's partial list, at rest, are exactly the slabs with free objects. Between
// taking a slab off the list and taking its free objects, a refill owns it privately:
// it has free objects and is not listed, and frees that see so leave the list alone.
type slab struct {
	state   atomic.Uint64
	next    uint32 // link to the next slab on the partial list, 0 for none; see TakeGuarded
	prev    uint32 // the one before; both under the node's mu
	objects uint32 // in the slab, constant
	pages   uint16 // of the run without its fence, constant
	begins  uint16 // where its random order starts, see startOf; constant
	node    uint8  // index of its node, constant
	kind    kind   // constant
	listed  bool   // on the partial list; under the node's mu
	// isolated is set under the node's lock, and stays; see isolate.go.
	isolated bool
	inUse    uint32 // the mark of a single object; see SetInUse
}

const (
	_ = 32 - unsafe.Sizeof(slab{})
	_ = unsafe.Sizeof(slab{}) - 32
)

// kind says in what a slab differs from others of its cache.
type kind uint8

const (
	small   kind = 1 << iota // of less than the preferred order, or alone
	alone                    // its one object is alone, see TakeAlone
	guarded                  // and lies in a guarded page, see TakeGuarded
)

func (k kind) has(bit kind) bool { return k&bit != 0 }

// slabState is slab.state taken apart.
type slabState struct {
	free      uintptr // offset of the first object of the chain plus 8, 0 for none
	untouched uint32  // objects that were never handed out; see untouched.go
	inuse     uint32  // objects that are out
}

// The parts of slab.state. A slab has at most 4 MiB, and an object at least 8 bytes. free is stored
// divided by 8.
const (
	partBits       = 20 // of free and of untouched
	untouchedShift = partBits
	inuseShift     = 2 * partBits
)

// No slab has more objects than a part can count.
var _ = [1]struct{}{}[mem.PageSize<<arena.MaxOrder/8>>partBits]

func unpack(w uint64) slabState {
	const mask = 1<<partBits - 1
	return slabState{free: uintptr(w&mask) * 8, untouched: uint32(w >> untouchedShift & mask), inuse: uint32(w >> inuseShift)}
}

func (st slabState) pack() uint64 {
	return uint64(st.free/8) | uint64(st.untouched)<<untouchedShift | uint64(st.inuse)<<inuseShift
}

// hasFree reports whether there is a free object.
func (st slabState) hasFree() bool { return st.free != 0 || st.untouched != 0 }

// chained returns how many objects the chain should have.
func (r Ref) chained(st slabState) int {
	return int(r.objects) - int(st.inuse) - int(st.untouched)
}

// A Ref is a slab together with where it lies.
type Ref struct {
	*slab
	page uint32  // head page of its run
	addr uintptr // of its first object, unless that is guarded: Config.Lead behind that page's
}

// Addr returns the address of a slab's first byte.
func (s *Slabs) Addr(r Ref) uintptr { return r.addr - s.lead }

// Bytes returns the slab's size.
func (r Ref) Bytes() uintptr { return mem.PageSize * uintptr(r.pages) }

// Objects returns how many objects the slab has.
func (r Ref) Objects() int { return int(r.objects) }

// Node returns the index of the slab's node.
func (r Ref) Node() int { return int(r.node) }

// Object returns the address of a slab's i-th object.
func (s *Slabs) Object(r Ref, i uint32) uintptr { return r.start() + uintptr(i)*s.size }

func (r Ref) load() slabState { return unpack(r.state.Load()) }

// first returns the address of the first object of the chain of st, 0 for none.
func (r Ref) first(st slabState) uintptr {
	if st.free == 0 {
		return 0
	}
	return r.addr + st.free - 8
}

// starting returns slabState.free for a chain that starts at obj; 0 for none.
func (r Ref) starting(obj uintptr) uintptr {
	if obj == 0 {
		return 0
	}
	return obj - r.addr + 8
}

// slabAt returns the slab whose run has the given head page.
func (s *Slabs) slabAt(page uint32) Ref {
	return Ref{(*slab)(s.arena.Meta(page)), page, s.arena.Addr(page) + s.lead}
}

// slabOf returns the slab of an object, which must be one of these slabs'. The head page is found
// by masking, except of slabs of lower order.
func (s *Slabs) slabOf(obj uintptr) Ref {
	page := uint32((obj - s.base) >> mem.PageShift)
	head := page &^ (1<<s.order - 1)
	if s.fallbacks.Load() == 0 || !s.arena.Owner(page).HasFlags() {
		return s.slabAt(head)
	}
	head, _, _ = s.arena.Head(page)
	return s.slabAt(head)
}
