package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A Kind names one of a slot's two stacks. Its value is the stack's offset in the slot, in bytes.
type Kind uintptr

// The stacks of a slot. They lie two cache lines apart, so that FreeRCU does not take the line that
// Alloc and Free use.
const (
	Main Kind = 0
	RCU  Kind = stackSize
)

const stackSize = 128 // bytes

const _ = stackSize - unsafe.Sizeof(Stack{}) // fails to compile when it outgrows its place

// The header word. Its low 16 bits are the number of objects. The rest counts operations, so that
// one committing store maintains the size and both counters: since the last fold, ops = pushes +
// pops, and the change of size is pushes - pops.
//
// The count begins below zero, so that the word is negative as a signed number. A pop that would
// make it positive takes the slow path instead: see Arm.
const (
	sizeMask = 0xffff
	opShift  = 16
	pushOne  = 1<<opShift + 1 // one operation more, one object more
	popOne   = 1<<opShift - 1 // one operation more, one object less
	// MaxCap is the largest capacity of a stack, in objects: the size must not reach into the bits
	// of the operation count.
	MaxCap = 1<<15 - 1

	opsMask = 1<<(64-opShift) - 1
	// Never, for Arm, is a number of operations that takes days to do.
	Never = 1 << (63 - opShift)
)

// A gate has two halves. Pops compare the low half with zero, and pushes compare the high half
// with the owner word of their object's page. While the stack's lock is held, each half has a bit
// set that zero and owner words never have.
const (
	gateOwn    = 4           // offset of the owner word in a gate, in bytes
	ownShift   = 8 * gateOwn // the same in bits
	popsHeld   = 1
	pushesHeld = (owner.Max + 1) << ownShift
	heldMark   = popsHeld | pushesHeld
)

var tickets atomic.Uint32

// newTicket returns a ticket: a number in the remaining bits of the gate's low half, which tells
// apart callers that take a stack's lock from other CPUs. It is never 0: a gate that a sequence
// has closed has no ticket, and no caller must take it for its own. There are 2^30 tickets, and
// only few callers can wait for a barrier at a time.
func newTicket() uint64 { return uint64(tickets.Add(1)<<2 | 2) }

// A Stack is one CPU's bounded LIFO of objects. It lies off-heap. The sequences use its first four
// words.
//
//	0 <= size <= cap      objs[0:size) are the objects, the top one last
//	pushes - pops = size - size in base, where both count since the last fold
type Stack struct {
	head uint64  // operations<<16 | size, see pushOne
	gate uint64  // owner word of objects that may be pushed << ownShift; heldMark and a ticket
	objs uintptr // address of the array of objects
	cap  uint64  // objects that fit; 0: every operation takes the slow path

	// Sheaf is the address of the sheaf whose array objs is, Spare that of the spare sheaf. Package
	// sheaves gives them their meaning.
	Sheaf, Spare uintptr
	spareSize    uint64 // objects in Spare

	base         uint64 // head at the last fold
	pushes, pops uint64 // operations up to the last fold
	seq          uint64 // how often the lock was released, for Snapshot
	armed        bool   // by Arm, for fewer operations than Never

	// Note and Epoch are for the caller of Arm, and 0 in a new stack. The lock's holder uses them.
	Note  uint64
	Epoch uint32
}

// Size returns the number of objects. The caller holds the lock.
func (s *Stack) Size() int { return int(s.head & sizeMask) }

// Cap returns the number of objects that fit. The caller holds the lock.
func (s *Stack) Cap() int { return int(s.cap) }

// Own returns the owner word that Install set. The caller holds the lock.
func (s *Stack) Own() owner.Word { return owner.Word(s.gate &^ heldMark >> ownShift) }

// fold moves the header's operations into the counters. The caller holds the lock, or the stack has
// not been published yet.
func (s *Stack) fold() {
	pushes, pops := split(s.head, s.base)
	mem.Store64(&s.pushes, s.pushes+pushes)
	mem.Store64(&s.pops, s.pops+pops)
	mem.Store64(&s.base, s.head)
}

// setHead stores a header that doesn't go on from the one before: the counters keep what was
// counted. The caller holds the lock, or the stack has not been published yet.
func (s *Stack) setHead(head uint64) {
	s.fold()
	mem.Store64(&s.base, head)
	mem.Store64(&s.head, head)
}

// Arm lets the n-th operation from now on find the stack due: from then on pops take their slow
// paths, until the next Arm. 1 <= n <= Never. The caller holds the lock.
//
// Pushes don't look. So it may be a push that completes the count, and the pop that then takes the
// slow path is not the n-th operation; AtTrigger tells. Install and SetSize leave the count as it
// is. A stack that nothing has armed is as if Arm(Never) had been called.
func (s *Stack) Arm(n uint64) {
	s.armed = n < Never
	s.setHead(-n<<opShift | s.head&sizeMask)
}

// Due reports whether the sequences leave the next pop to their slow paths. Pop and PopN are not
// concerned. The caller holds the lock.
func (s *Stack) Due() bool { return due(s.head) }

func due(head uint64) bool { return int64(head+popOne) >= 0 }

// AtTrigger reports whether the next operation is the one for which the stack was armed. The caller
// holds the lock.
func (s *Stack) AtTrigger() bool { return s.head>>opShift == opsMask }

// LooksDue reports whether there is an object, and the next pop is left to the slow path. It takes
// no lock, so the answer is only a hint.
func (s *Stack) LooksDue() bool {
	head := atomic.LoadUint64(&s.head)
	return head&sizeMask > 0 && due(head)
}

// operations returns how many operations there were between two headers.
func operations(head, base uint64) uint64 { return (head>>opShift - base>>opShift) & opsMask }

// split solves ops = pushes+pops and grown = pushes-pops for what happened between two headers.
func split(head, base uint64) (pushes, pops uint64) {
	ops, grown := operations(head, base), head&sizeMask-base&sizeMask
	return (ops + grown) / 2, (ops - grown) / 2
}

// Install replaces the array by one with room for limit objects, size of which are present. Objects
// that this adds or removes don't count as pushes or pops. The caller holds the lock.
func (s *Stack) Install(objs uintptr, size, limit int, own owner.Word) {
	if invariants.Enabled {
		invariants.Check(0 <= size && size <= limit && limit <= MaxCap && own <= owner.Max, "install %d of %d objects, owner %#x", size, limit, own)
	}
	s.objs, s.cap = objs, uint64(limit)
	mem.Store64(&s.gate, s.gate&heldMark|uint64(own)<<ownShift)
	head := s.head&^sizeMask | uint64(size)
	if !s.armed && int64(head) >= 0 {
		head = Never<<opShift | uint64(size)
	}
	s.setHead(head)
}

// SetSize changes the number of objects, without counting pushes or pops: it removes objects from
// the top, or adds those that the holder has written there. The caller holds the lock.
func (s *Stack) SetSize(size int) { s.Install(s.objs, size, int(s.cap), s.Own()) }

// SetSpare replaces the spare, which holds n objects; 0 stands for no spare. The caller holds the
// lock.
func (s *Stack) SetSpare(spare uintptr, n int) {
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld) // main's array may just have been replaced
	}
	s.Spare = spare
	mem.Store64(&s.spareSize, uint64(n))
}

// SpareLooksEmpty reports whether there is a spare without objects. It takes no lock, so the
// answer is only a hint.
func (s *Stack) SpareLooksEmpty() bool {
	return atomic.LoadUintptr(&s.Spare) != 0 && atomic.LoadUint64(&s.spareSize) == 0
}

// Objects returns the whole array, up to its capacity. The caller holds the lock.
func (s *Stack) Objects() []unsafe.Pointer {
	if s.cap == 0 {
		return nil
	}
	return unsafe.Slice((*unsafe.Pointer)(mem.Ptr(s.objs)), int(s.cap))
}

// Pop takes the top object, counted as a pop. The stack is not empty, and the caller holds the
// lock.
func (s *Stack) Pop() unsafe.Pointer {
	mem.Store64(&s.head, s.head+popOne)
	return *mem.At[unsafe.Pointer](s.objs + uintptr(s.head&sizeMask)*8)
}

// Push puts p on top, counted as a push. The stack is not full, and the caller holds the lock.
func (s *Stack) Push(p unsafe.Pointer) {
	*mem.At[uintptr](s.objs + uintptr(s.head&sizeMask)*8) = uintptr(p)
	mem.Store64(&s.head, s.head+pushOne)
}

// PopN moves up to len(dst) objects from the top to dst, and returns how many. They count as pops.
// The caller holds the lock.
func (s *Stack) PopN(dst []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(dst), size)
	copy(dst, s.Objects()[size-n:size])
	mem.Store64(&s.head, s.head+uint64(n)*popOne)
	return n
}

// TakeN is PopN for objects that don't count as pops.
func (s *Stack) TakeN(dst []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(dst), size)
	copy(dst, s.Objects()[size-n:size])
	s.SetSize(size - n)
	return n
}

// PushN puts up to len(src) objects on the stack, and returns how many. They count as pushes. The
// caller holds the lock.
func (s *Stack) PushN(src []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(src), int(s.cap)-size)
	copy(s.Objects()[size:], src[:n])
	mem.Store64(&s.head, s.head+uint64(n)*pushOne)
	return n
}

// PutN is PushN for objects that don't count as pushes.
func (s *Stack) PutN(src []unsafe.Pointer) int {
	size := s.Size()
	n := min(len(src), int(s.cap)-size)
	copy(s.Objects()[size:], src[:n])
	s.SetSize(size + n)
	return n
}

// CountPush counts the push of an object that has left the stack in the same step, as the one that
// fills an rcu_free sheaf does. The caller holds the lock.
func (s *Stack) CountPush() { mem.Store64(&s.pushes, s.pushes+1) }

// Unlock releases the lock: the CPU's sequences use the stack again. The store that opens the gate
// comes after all other stores of the holder; a sequence loads the gate before any other word of
// the stack. seq is stored before the gate, so that a Snapshot that finds the gate open again
// finds another seq.
func (s *Stack) Unlock() {
	if invariants.Enabled {
		invariants.Check(s.held(), "unlock of a stack that is not held")
		invariants.Check(s.Size() <= int(s.cap), "stack holds %d of %d", s.Size(), s.cap)
	}
	mem.Store64(&s.seq, s.seq+1)
	mem.Store64(&s.gate, uint64(s.Own())<<ownShift)
}

// clear zeroes a closed stack and unlocks it. seq is not zeroed: a Snapshot that has read the words
// before must see that the lock has been held.
func (s *Stack) clear() {
	if invariants.Enabled {
		invariants.Check(s.Cap() == 0 && s.Own() == 0 && s.Spare == 0, "a stack in use is freed, owner %#x, capacity %d", s.Own(), s.cap)
	}
	s.objs, s.Sheaf, s.armed, s.Note, s.Epoch = 0, 0, false, 0, 0
	mem.Store64(&s.head, 0)
	mem.Store64(&s.base, 0)
	mem.Store64(&s.pushes, 0)
	mem.Store64(&s.pops, 0)
	s.Unlock()
}

// Unused reports whether the stack has owner word 0 and its lock is free: Install has not made it
// one for objects yet, or has closed it. It takes no lock.
func (s *Stack) Unused() bool { return atomic.LoadUint64(&s.gate) == 0 }

// held reports whether the lock is held.
func (s *Stack) held() bool { return atomic.LoadUint64(&s.gate)&heldMark != 0 }

// untouched reports whether the lock has not been held since seq was loaded.
func (s *Stack) untouched(seq uint64) bool { return !s.held() && atomic.LoadUint64(&s.seq) == seq }

// tryLock closes the gate, and returns the word that it has stored. That excludes other holders. To
// exclude the CPU's sequences takes more, which lockStack and TryLockCPU add.
func (s *Stack) tryLock(ticket uint64) (closed uint64, ok bool) {
	open := atomic.LoadUint64(&s.gate)
	if open&heldMark != 0 {
		return 0, false
	}
	closed = open | heldMark | ticket
	return closed, atomic.CompareAndSwapUint64(&s.gate, open, closed)
}
