package slub

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// An accountState is all of an Account but the reference to it. It is an object of its own, so that
// objects which outlive a lost Account are still charged.
//
// # What writes which word
//
// The Account's goroutine alone writes room, the slots, and an object's Ext from the allocation to
// the free. Whatever else frees an object writes freed, by an atomic addition. So
//
//	charged = granted - room + freed,   where freed <= 0 before end and >= 0 after it
//
// where granted is what the limit and the Parent have let the Account have, and room is the part of
// it that no object has. Malloc subtracts from room, Free adds to it. When room does not suffice
// the goroutine moves freed to it, and when freed has grown to a step the goroutine that frees
// moves it out of granted, for the Parent. version is odd while one of them moves anything between
// the three words, which the other then does not; otherwise room and freed alone change. So a
// reader that finds an even version and one freed, before it has loaded room and behind, knows the
// sum at the moment of that load: freed only falls between two moves.
//
// # The end
//
// end adds what the goroutine has charged to freed, which is the number of bytes left from then on.
// An addition that makes it negative came before end: the goroutine accounts for it. One that does
// not came after it, and ends its charge itself. The one that makes it 0 is the last one of all: no
// object refers to the Account any more, and its number may serve another.
//
// # Slots
//
// Each object has a slot, whose number is in its Ext beside the Account's, and slots[number] is the
// address of the object. What Account.Free is given is an object of the Account in use exactly if
// both lead to each other. The slots without an object are a list. Another free than the Account's
// leaves a slot with an address whose Ext leads elsewhere, or nowhere: the Account finds it again
// when it has no free slot. The slot can't be mistaken meanwhile: no object gets its number in the
// Account before the Account has found it.
type accountState struct {
	room     uint64 // bytes; stored atomically, see above
	mostRoom int64  // above it room is given back to the Parent; see setLimit
	set      *accountedSet
	ref      uint64 // the Account's number << slotBits; 0 before the first allocation
	hole     uint32 // the first free slot; noSlot if there is none
	closed   bool

	// The first two are of the third.
	firstSlot unsafe.Pointer
	numSlots  uint
	slots     []uintptr // address of the object, or the next free slot's number << 1 | 1

	granted, freed atomic.Int64
	version        atomic.Uint64

	// Constant.
	buckets *Buckets
	name    string
	parent  *Group

	limit atomic.Int64 // stored by the Account's goroutine; see setLimit

	touched uint64 // written by every operation in builds with invariants, as is the next field
	inUse   atomic.Bool
}

const (
	noSlot = maxSlots
	// accountStep is the number of bytes that a Parent is charged for at once (kernel: a page, of
	// which the stock of struct obj_stock_pcp keeps the rest).
	accountStep = mem.PageSize
)

// use is localState.use of an Account.
func (s *accountState) use() (end func()) {
	s.touched++
	invariants.Check(s.inUse.CompareAndSwap(false, true), "two goroutines use the account %q at once", s.name)
	return func() { s.inUse.Store(false) }
}

// usage returns the charged bytes.
func (s *accountState) usage() int64 {
	for {
		version, freed := s.version.Load(), s.freed.Load()
		charged := s.granted.Load() - int64(atomic.LoadUint64(&s.room)) + freed
		if version%2 == 0 && s.freed.Load() == freed && s.version.Load() == version {
			return charged
		}
		runtime.Gosched() // end or charge is between two stores
	}
}

// slotAt returns the address of a slot, of which there are more.
func (s *accountState) slotAt(slot uint32) *uintptr {
	return (*uintptr)(unsafe.Add(s.firstSlot, uintptr(slot)*unsafe.Sizeof(uintptr(0))))
}

// setSlots replaces the slots.
func (s *accountState) setSlots(slots []uintptr) {
	s.slots, s.numSlots, s.firstSlot = slots, uint(len(slots)), unsafe.Pointer(unsafe.SliceData(slots))
}

// giveSlot puts a slot on the list of free ones.
func (s *accountState) giveSlot(slot uint32) {
	s.slots[slot] = uintptr(s.hole)<<1 | 1
	s.hole = slot
}

// reset is Reset.
func (s *accountState) reset() {
	defer func() { // also if a report or a hook does not return
		if int64(s.room) > s.mostRoom {
			s.giveRoom()
		}
	}()
	for i, addr := range s.slots {
		if addr%2 == 0 {
			s.freeSlot(uint32(i), mem.Ptr(addr))
		}
	}
	if len(s.slots) > keptSlots {
		s.setSlots(nil)
	}
	s.linkSlots(0)
}

// keptSlots is how many slots an Account keeps over Reset.
const keptSlots = 512

// freeSlot frees the object of a slot, unless the slot leads to none.
func (s *accountState) freeSlot(slot uint32, p unsafe.Pointer) {
	if !s.holds(slot, p) {
		return
	}
	c := s.set.classAt(p)
	if c == nil || c.direct.Load() == notDirect {
		s.buckets.Free(p)
		return
	}
	exts := s.buckets.cacheOf(p).slabs.Exts()
	if !exts.ClaimRef(uintptr(p), s.ref|uint64(slot)) {
		return
	}
	mem.Store64(&s.room, s.room+uint64(c.size))
	c.push(p)
}

// holds reports whether the object that a slot leads to is in use and charged to the Account.
func (s *accountState) holds(slot uint32, p unsafe.Pointer) bool {
	ref := s.ref | uint64(slot)
	c := s.buckets.cacheOf(p)
	if c == nil {
		return s.buckets.holdsLarge(p, ref)
	}
	return c.marks != nil && c.marks.accounted && c.slabs.Exts().Holds(uintptr(p), ref)
}

// takeSlot returns a free slot. It finds those again whose objects have been freed otherwise, and
// makes more if these are few: so it looks at each slot once for some allocations.
func (s *accountState) takeSlot() (slot uint32, err error) {
	if s.hole == noSlot {
		n := len(s.slots)
		if found := s.sweep(); n == 0 || found < n/4 && n < maxSlots {
			s.setSlots(append(s.slots, make([]uintptr, max(16, n))...))
			s.linkSlots(n)
		}
		if s.hole == noSlot {
			return 0, fmt.Errorf("%w: account %q has %d objects", ErrNoMemory, s.name, n)
		}
	}
	return s.hole, nil
}

// sweep frees the slots whose objects have been freed otherwise, and returns how many.
func (s *accountState) sweep() (found int) {
	for i, addr := range s.slots {
		if addr%2 == 0 && !s.holds(uint32(i), mem.Ptr(addr)) {
			s.giveSlot(uint32(i))
			found++
		}
	}
	return found
}

// linkSlots makes all slots from the given one on free, and those before it, too, if it is 0.
func (s *accountState) linkSlots(from int) {
	if from == 0 {
		s.hole = noSlot
	}
	for i := len(s.slots) - 1; i >= from; i-- {
		s.giveSlot(uint32(i))
	}
}

// reportInUse reports an object that was to be handed out, and is in use.
func (s *accountState) reportInUse(p unsafe.Pointer) {
	if c := s.buckets.cacheOf(p); c != nil {
		c.reportInUse(p)
	}
}
