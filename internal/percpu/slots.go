package percpu

import (
	"runtime"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Slots is one cache's slots, a cell of per-CPU memory. A zeroed slot has
// capacity and owner 0, which every operation refuses: that is the kernel's
// bootstrap sheaf (mm/slub.c, bootstrap_pcs), and what a closed cache leaves
// behind.
type Slots struct{ base uintptr }

// NewSlots returns zeroed slots. The error is sys.Reserve's.
func NewSlots() (Slots, error) {
	base, err := newCells(1)
	return Slots{base}, err
}

// NewSlotsRow returns n zeroed slots that lie side by side, in groups of at most MaxRow: a
// FreeByOwner works out from an owner word where those of the first group lie. The error
// is sys.Reserve's.
func NewSlotsRow(n int) (row []Slots, err error) {
	for len(row) < n {
		group := min(n-len(row), MaxRow)
		base, err := newCells(group)
		if err != nil {
			for _, s := range row {
				s.abandon()
			}
			return nil, err
		}
		for i := range group {
			row = append(row, Slots{base + uintptr(i)*cellSize})
		}
	}
	return row, nil
}

// MaxRow is how many slots can lie side by side.
const MaxRow = rowCells

// Reserve maps at least n bytes of zeroed memory for metadata.
func Reserve(n uintptr) (uintptr, error) { return sys.Reserve(mem.AlignUp(n, mem.PageSize)) }

// Unreserve unmaps what Reserve mapped, which no operation may reach any more.
func Unreserve(addr, n uintptr) error { return sys.Unmap(addr, mem.AlignUp(n, mem.PageSize)) }

// Forget gives up slots that are closed, once: they read as zeroes from then on, counts
// included. It waits for the holders of stacks. The error is sys.Discard's.
//
// Operations of those who still use the slots may be under way. None may spoil the zeroes,
// nor lose a lock that it holds:
//
//   - Push and pop that loaded the gate before it was closed for good were restarted by
//     the LockCPU that did so, or have committed before. Later ones find the owner word
//     and the size 0 and don't commit.
//   - lockStack may commit at any time. It stores the gate only, and clear holds the lock
//     while it stores: LockCPU has restarted a lockStack that loaded the open gate, or it
//     was overtaken by it, and waits for its Unlock. A holder finds the owner word and the
//     capacity 0 and changes nothing.
//   - The cell is not handed out again, so that whatever is late meets no other cache.
func (s Slots) Forget() error {
	for cpu := range NumCPU() {
		s.LockCPU(cpu, Main).clear()
		s.LockCPU(cpu, RCU).clear()
	}
	return killCell(s.base, true)
}

// abandon gives up slots that nobody else has seen. It needs no lock, of which there are
// none before an engine has been chosen.
func (s Slots) abandon() {
	clearWords(s.base)
	bury(s.base, true)
}

// Stack returns cpu's stack without taking its lock.
func (s Slots) Stack(cpu int, k Kind) *Stack {
	return mem.At[Stack](s.base + uintptr(cpu)<<rowShift + uintptr(k))
}

// TryLock takes the lock of the calling CPU's stack, or returns nil when it is
// held (kernel: local_trylock). By the time it returns the goroutine may run on
// another CPU; the stack stays its own.
func (s Slots) TryLock(k Kind) (st *Stack, cpu int) {
	return s.locked(current.lock(s.base+uintptr(k)), k)
}

// TryLockNoWait is TryLock without the one system call that may be in it, a thread's
// registration for rseq: on a thread that isn't registered yet it returns nil.
func (s Slots) TryLockNoWait(k Kind) (st *Stack, cpu int) {
	return s.locked(current.lockNoWait(s.base+uintptr(k)), k)
}

// locked is the stack of the CPU that an engine has locked, or nil if that is negative.
func (s Slots) locked(cpu int, k Kind) (*Stack, int) {
	if cpu < 0 {
		return nil, -1
	}
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld)
	}
	return s.Stack(cpu, k), cpu
}

// TryLockCPU takes the lock of any CPU's stack, or returns nil when it is held.
// The caller holds no stack's lock.
func (s Slots) TryLockCPU(cpu int, k Kind) *Stack {
	st := s.Stack(cpu, k)
	closed, ok := st.tryLock(newTicket())
	if !ok {
		return nil
	}
	// From here on no sequence that loads the gate can commit. Those that loaded it
	// before the swap are restarted by the kernel. The assembly's side of the pair is
	// its test of the gate, before any other word of the stack.
	current.fence(cpu)
	// A sequence that took the lock before it could be restarted has overwritten the
	// gate, and may have opened it again since: it was the one that got the lock.
	if atomic.LoadUint64(&st.gate) != closed {
		return nil
	}
	if invariants.Enabled {
		invariants.Reach(invariants.StackHeld)
	}
	return st
}

// LockCPU is TryLockCPU, waiting for a holder to finish.
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
	Size, Spare  int    // objects in the stack, and beside it
	Pushes, Pops uint64 // operations since the slots were made
	Seq          uint64 // changes whenever somebody has held the stack's lock
}

// Snapshot reads cpu's stack. The counts are exact: every push and pop that
// happened before the call is in, none is torn. It waits while the stack is held.
func (s Slots) Snapshot(cpu int, k Kind) Counts {
	st := s.Stack(cpu, k)
	for {
		seq := atomic.LoadUint64(&st.seq)
		if st.held() { // not worth reading
			runtime.Gosched()
			continue
		}
		head, base := atomic.LoadUint64(&st.head), atomic.LoadUint64(&st.base)
		folded := Counts{Spare: int(atomic.LoadUint64(&st.spareSize)), Pushes: atomic.LoadUint64(&st.pushes), Pops: atomic.LoadUint64(&st.pops)}
		if !st.untouched(seq) {
			// Somebody holds the lock, or has held it meanwhile: the words don't belong
			// together. See Unlock for the order.
			continue
		}
		if head>>opShift >= 1<<46 {
			// A CPU needs days of operations without one slow path to come here, and
			// three times as many again to wrap; folding starts the count anew.
			held := s.LockCPU(cpu, k)
			held.fold()
			held.Unlock()
			continue
		}
		pushes, pops := split(head, base)
		return Counts{int(head & sizeMask), folded.Spare, folded.Pushes + pushes, folded.Pops + pops, seq}
	}
}
