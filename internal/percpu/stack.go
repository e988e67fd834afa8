package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// A Kind names one of a slot's two stacks; its value is the stack's offset in
// the slot in bytes.
type Kind uintptr

// The stacks of a slot. They lie two cache lines apart, so that freeing by RCU
// does not move the line that Alloc and Free live in.
const (
	Main Kind = 0
	RCU  Kind = stackSize
)

const stackSize = 128 // bytes

const _ = stackSize - unsafe.Sizeof(Stack{}) // fails to compile when it outgrows its place

// The header word. Its low 16 bits are the number of objects, the rest counts
// operations since the last fold, so that one committing store maintains size
// and both counters: ops = pushes + pops, and the change of size is
// pushes - pops.
const (
	sizeMask = 0xffff
	opShift  = 16
	pushOne  = 1<<opShift + 1 // one operation more, one object more
	popOne   = 1<<opShift - 1 // one operation more, one object less
	// MaxCap is the largest capacity of a stack in objects: size must stay
	// clear of the operation count.
	MaxCap = 1<<15 - 1
)

// A gate has two halves. Pops compare the low one with zero, pushes the high one with the
// owner word of their object's page. While somebody holds the stack's lock both have a bit
// that these never have.
const (
	gateOwn    = 4           // where in a gate the owner word starts, in bytes
	ownShift   = 8 * gateOwn // and in bits
	popsHeld   = 1
	pushesHeld = (MaxOwn + 1) << ownShift
	heldMark   = popsHeld | pushesHeld
)

var tickets atomic.Uint32

// newTicket returns what tells those who take a stack's lock from other CPUs apart, in
// the rest of the gate's low half. It is never 0: the gate that a sequence has closed has
// no ticket, and must not pass for one's own. There are 2^30, against the few of them that
// can be waiting for a barrier at a time.
func newTicket() uint64 { return uint64(tickets.Add(1)<<2 | 2) }

// MaxOwn is the largest owner word that a stack can have.
const MaxOwn = 1<<30 - 1

// A Stack is one CPU's bounded LIFO of objects. It lies off-heap; the sequences use
// the first four words.
//
//	0 <= size <= cap      objs[0:size) are the objects, the top one last
//	pushes - pops = size - base, where both count since the last fold
type Stack struct {
	head uint64  // operations<<16 | size
	gate uint64  // owner word of objects that may be pushed << ownShift; heldMark and a ticket
	objs uintptr // address of the array of objects
	cap  uint64  // objects that fit; 0: every operation takes the slow path

	// Sheaf is the sheaf whose array objs is, Spare the one beside it, by address;
	// what that means is package sheaves' business.
	Sheaf, Spare uintptr
	spareSize    uint64 // objects in Spare

	base         uint64 // size at the last fold
	pushes, pops uint64 // operations up to the last fold
	seq          uint64 // how often the lock was given back, for Snapshot
}

// Size returns the number of objects. The caller holds the lock.
func (s *Stack) Size() int { return int(s.head & sizeMask) }

// Cap returns the number of objects that fit. The caller holds the lock.
func (s *Stack) Cap() int { return int(s.cap) }

// Own returns the owner word that Install set. The caller holds the lock.
func (s *Stack) Own() uint32 { return uint32(s.gate &^ heldMark >> ownShift) }

// fold moves the header's operations into the counters. The caller holds the
// lock, or the stack has not been published yet.
func (s *Stack) fold() {
	pushes, pops := split(s.head, s.base)
	size := s.head & sizeMask
	mem.Store64(&s.pushes, s.pushes+pushes)
	mem.Store64(&s.pops, s.pops+pops)
	mem.Store64(&s.base, size)
	mem.Store64(&s.head, size)
}

// split solves ops = pushes+pops and size-base = pushes-pops.
func split(head, base uint64) (pushes, pops uint64) {
	ops, grown := head>>opShift, head&sizeMask-base
	return (ops + grown) / 2, (ops - grown) / 2
}

// Install replaces the array: size of its limit objects are present. Objects put
// in or taken out this way are not counted as pushes or pops. The caller holds
// the lock.
func (s *Stack) Install(objs uintptr, size, limit int, own uint32) {
	if invariants.Enabled {
		invariants.Check(0 <= size && size <= limit && limit <= MaxCap && own <= MaxOwn, "install %d of %d objects, owner %#x", size, limit, own)
	}
	s.fold()
	s.objs, s.cap = objs, uint64(limit)
	mem.Store64(&s.gate, s.gate&heldMark|uint64(own)<<ownShift)
	mem.Store64(&s.base, uint64(size))
	mem.Store64(&s.head, uint64(size))
}

// SetSize drops objects from the top or takes in what the holder wrote there,
// without counting them. The caller holds the lock.
func (s *Stack) SetSize(size int) { s.Install(s.objs, size, int(s.cap), s.Own()) }

// SetSpare replaces the spare, which holds n objects; 0 for none. The caller holds
// the lock.
func (s *Stack) SetSpare(spare uintptr, n int) {
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld) // main's array may just have been replaced
	}
	s.Spare = spare
	mem.Store64(&s.spareSize, uint64(n))
}

// SpareLooksEmpty reports whether there is a spare without objects, without the
// lock: worth a closer look, no more.
func (s *Stack) SpareLooksEmpty() bool {
	return atomic.LoadUintptr(&s.Spare) != 0 && atomic.LoadUint64(&s.spareSize) == 0
}

// Objects views the whole array, up to its capacity. The caller holds the lock.
func (s *Stack) Objects() []unsafe.Pointer {
	if s.cap == 0 {
		return nil
	}
	return unsafe.Slice((*unsafe.Pointer)(mem.Ptr(s.objs)), int(s.cap))
}

// Pop takes the top object, counted as a pop. The stack is not empty and the caller
// holds the lock.
func (s *Stack) Pop() unsafe.Pointer {
	mem.Store64(&s.head, s.head+popOne)
	return *mem.At[unsafe.Pointer](s.objs + uintptr(s.head&sizeMask)*8)
}

// Push puts p on top, counted as a push. The stack is not full and the caller holds
// the lock.
func (s *Stack) Push(p unsafe.Pointer) {
	*mem.At[uintptr](s.objs + uintptr(s.head&sizeMask)*8) = uintptr(p)
	mem.Store64(&s.head, s.head+pushOne)
}

// PopN moves up to len(dst) objects from the top to dst, counted as that many
// pops, and returns how many. The caller holds the lock.
func (s *Stack) PopN(dst []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(dst), size)
	copy(dst, s.Objects()[size-n:size])
	mem.Store64(&s.head, s.head+uint64(n)*popOne)
	return n
}

// PushN moves up to len(src) objects in, counted as that many pushes, and returns
// how many. The caller holds the lock.
func (s *Stack) PushN(src []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(src), int(s.cap)-size)
	copy(s.Objects()[size:], src[:n])
	mem.Store64(&s.head, s.head+uint64(n)*pushOne)
	return n
}

// CountPush counts the push of an object that left the stack in the same step, as
// the one that fills an rcu_free sheaf does. The caller holds the lock.
func (s *Stack) CountPush() { mem.Store64(&s.pushes, s.pushes+1) }

// Unlock gives the stack back to its CPU's sequences. The store that opens the gate
// comes after all of the holder's; a sequence loads the gate before any other word of
// the stack. seq is stored before it, so that a Snapshot which finds the gate open
// again finds another seq.
func (s *Stack) Unlock() {
	if invariants.Enabled {
		invariants.Check(s.held(), "unlock of a stack that is not held")
		invariants.Check(s.Size() <= int(s.cap), "stack holds %d of %d", s.Size(), s.cap)
	}
	mem.Store64(&s.seq, s.seq+1)
	mem.Store64(&s.gate, uint64(s.Own())<<ownShift)
}

// clear zeroes a closed stack and unlocks it. seq goes on: a Snapshot that has read what
// was there before must find that somebody has held the lock.
func (s *Stack) clear() {
	if invariants.Enabled {
		invariants.Check(s.Cap() == 0 && s.Own() == 0 && s.Spare == 0, "a stack in use is given up, owner %#x, capacity %d", s.Own(), s.cap)
	}
	s.objs, s.Sheaf = 0, 0
	mem.Store64(&s.head, 0)
	mem.Store64(&s.base, 0)
	mem.Store64(&s.pushes, 0)
	mem.Store64(&s.pops, 0)
	s.Unlock()
}

// held reports whether somebody holds the lock.
func (s *Stack) held() bool { return atomic.LoadUint64(&s.gate)&heldMark != 0 }

// untouched reports whether nobody has held the lock since seq was loaded.
func (s *Stack) untouched(seq uint64) bool { return !s.held() && atomic.LoadUint64(&s.seq) == seq }

// tryLock closes the gate. That keeps other holders out; keeping the CPU's
// sequences out takes more, which lockStack and TryLockCPU add.
//
// closed is the word that it stored.
func (s *Stack) tryLock(ticket uint64) (closed uint64, ok bool) {
	open := atomic.LoadUint64(&s.gate)
	if open&heldMark != 0 {
		return 0, false
	}
	closed = open | heldMark | ticket
	return closed, atomic.CompareAndSwapUint64(&s.gate, open, closed)
}
