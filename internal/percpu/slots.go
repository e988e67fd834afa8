package percpu

import (
	"runtime"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Slots is one cache's slots, a cell of per-CPU memory. A zeroed slot has capacity 0 and owner 0,
// which every operation refuses: it is like the kernel's bootstrap sheaf (mm/slub.c,
// bootstrap_pcs), and it is what remains of a closed cache.
type Slots struct{ base uintptr }

// NewSlots returns zeroed slots. The error is sys.Reserve's.
func NewSlots() (Slots, error) {
	base, err := newCells(1)
	return Slots{base: base}, err
}

// NewAdjacentSlots returns n zeroed slots that lie side by side in groups of MaxAdjacent, the last
// of which may be smaller. A FreeByOwner computes the address of a slot of the first group from an
// owner word. The error is sys.Reserve's.
func NewAdjacentSlots(n int) (slots []Slots, err error) {
	for len(slots) < n {
		group := min(n-len(slots), MaxAdjacent)
		base, err := newCells(group)
		if err != nil {
			for _, s := range slots {
				s.freeUnpublished()
			}
			RecycleAdjacent(slots)
			return nil, err
		}
		for i := range group {
			slots = append(slots, Slots{base: base + uintptr(i)*cellSize})
		}
	}
	return slots, nil
}

// MaxAdjacent is the largest number of slots that can lie side by side.
const MaxAdjacent = rowCells

// Reserve maps at least n bytes of zeroed memory for metadata.
func Reserve(n uintptr) (uintptr, error) { return sys.Reserve(mem.AlignUp(n, mem.PageSize)) }

// Unreserve unmaps the memory that Reserve returned for n. No operation may use it any more.
func Unreserve(addr, n uintptr) error { return sys.Unmap(addr, mem.AlignUp(n, mem.PageSize)) }

// Free frees slots that are closed; it is called once. They read as zeroes from then on, counts
// included. Free waits for the holders of their stacks. The error is sys.Discard's.
//
// Late operations on the slots may still be running. None of them may overwrite the zeroes, nor
// lose a lock that it holds:
//
//   - A push or pop that loaded the gate before the cache was closed was restarted by the LockAll
//     of the closing, or has committed before it. Later ones find owner word 0 and size 0 and
//     don't commit.
//   - lockStack may commit at any time. It stores the gate only, and clear stores under the lock:
//     either LockAll has restarted a lockStack that loaded the open gate, or the lockStack
//     committed first, and LockAll waits for its Unlock. That holder finds owner word 0 and
//     capacity 0, and changes nothing.
//   - A CPU that has not used the slots has zeroes already, and is not visited. A late lockStack
//     may be its first, and changes nothing, as above.
//   - The cell is not handed out again before Recycle, which comes after all late operations.
func (s Slots) Free() error {
	for _, st := range s.LockAll() {
		st.clear()
	}
	return freeCell(s.base, true)
}

// freeUnpublished frees slots that no other goroutine has seen. It takes no lock: before an engine
// has been chosen there is no way to take one. So it discards no page, which stays mapped.
func (s Slots) freeUnpublished() {
	clearWords(s.base)
	if noteDead(s.base, true).state == pageDiscarding {
		noteDiscarded(s.base &^ (mem.PageSize - 1))
	}
}

// Stack returns cpu's stack without taking its lock.
func (s Slots) Stack(cpu int, k Kind) *Stack {
	return mem.At[Stack](s.base + uintptr(cpu)<<rowShift + uintptr(k))
}

// TryLock takes the lock of the calling CPU's stack, or returns nil if it is held (kernel:
// local_trylock). By the time it returns the goroutine may run on another CPU; it still holds the
// lock.
func (s Slots) TryLock(k Kind) (st *Stack, cpu int) {
	return s.locked(current.lock(s.base+uintptr(k)), k)
}

// TryLockNoWait is TryLock without its system call, the registration of a thread for rseq: on a
// thread that isn't registered yet it returns nil.
func (s Slots) TryLockNoWait(k Kind) (st *Stack, cpu int) {
	return s.locked(current.lockNoWait(s.base+uintptr(k)), k)
}

// locked returns the stack of the CPU that an engine has locked, or nil if cpu is negative.
func (s Slots) locked(cpu int, k Kind) (*Stack, int) {
	if cpu < 0 {
		return nil, -1
	}
	setMark(s.base, cpu)
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld)
	}
	return s.Stack(cpu, k), cpu
}

// TryLockCPU takes the lock of any CPU's stack, or returns nil if it is held. The caller holds no
// stack's lock.
func (s Slots) TryLockCPU(cpu int, k Kind) *Stack {
	st := s.Stack(cpu, k)
	closed, ok := st.tryLock(newTicket())
	if !ok {
		return nil
	}
	setMark(s.base, cpu)
	// From here on no sequence that loads the gate can commit. The kernel restarts those that
	// loaded it before the swap. This pairs with the assembly's test of the gate, before any other
	// word of the stack.
	fence(cpu)
	// A lockStack that committed before it could be restarted has overwritten the gate: it has got
	// the lock, and may have opened the gate again since.
	if atomic.LoadUint64(&st.gate) != closed {
		return nil
	}
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld)
	}
	return st
}

// LockCPU is TryLockCPU, but waits until the lock is free.
func (s Slots) LockCPU(cpu int, k Kind) *Stack {
	for {
		if st := s.TryLockCPU(cpu, k); st != nil {
			return st
		}
		runtime.Gosched()
	}
}

// Counts is a consistent reading of one stack.
type Counts struct {
	Size, Spare  int    // objects in the stack, and in its spare
	HasSheaf     bool   // whether Sheaf is set
	HasSpare     bool   // whether Spare is set, also to one without objects
	Pushes, Pops uint64 // operations since the slots were made
	Seq          uint64 // changes with every hold of the stack's lock
}

// Snapshot reads cpu's stack. The counts are exact and belong to one moment: they include every
// push and pop that happened before the call. It waits while the stack is held.
func (s Slots) Snapshot(cpu int, k Kind) Counts {
	st := s.Stack(cpu, k)
	for {
		seq := atomic.LoadUint64(&st.seq)
		if st.held() { // not worth reading
			runtime.Gosched()
			continue
		}
		head, base := atomic.LoadUint64(&st.head), atomic.LoadUint64(&st.base)
		hasSheaf, hasSpare := atomic.LoadUintptr(&st.Sheaf) != 0, atomic.LoadUintptr(&st.Spare) != 0
		folded := Counts{Spare: int(atomic.LoadUint64(&st.spareSize)), Pushes: atomic.LoadUint64(&st.pushes), Pops: atomic.LoadUint64(&st.pops)}
		if !st.untouched(seq) {
			// The lock is held, or has been held meanwhile: the words don't belong together. See
			// Unlock for the order.
			continue
		}
		if operations(head, base) >= 1<<46 {
			// A CPU comes here after days of operations without a slow path, and would need three
			// times as many again to wrap. fold starts the difference from zero.
			held := s.LockCPU(cpu, k)
			held.fold()
			held.Unlock()
			continue
		}
		pushes, pops := split(head, base)
		return Counts{
			Size: int(head & sizeMask), Spare: folded.Spare, HasSheaf: hasSheaf, HasSpare: hasSpare,
			Pushes: folded.Pushes + pushes, Pops: folded.Pops + pops,
			Seq: seq,
		}
	}
}
