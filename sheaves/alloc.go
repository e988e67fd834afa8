package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// Alloc is what percpu.Pop falls back on: it finds main a sheaf with objects and
// takes one, or returns nil, and the caller goes to the slabs.
func (s *Set) Alloc() unsafe.Pointer {
	st := s.lockNonEmpty()
	if st == nil {
		return nil
	}
	p := st.Pop()
	st.Unlock()
	return p
}

// AllocNode takes an object of the given node if that is the calling CPU's, or
// returns nil. The top object may lie elsewhere: refills reach out to other nodes
// when theirs has nothing (kernel: alloc_from_pcs).
func (s *Set) AllocNode(node int) unsafe.Pointer {
	if s.NodeOfCPU(percpu.CPU()) != node {
		s.count(NodeMismatch, 1)
		return nil
	}
	st := s.lockNonEmpty()
	if st == nil {
		return nil
	}
	defer st.Unlock()
	if s.NodeOf(st.Objects()[st.Size()-1]) != node {
		s.count(NodeMismatch, 1)
		return nil
	}
	return st.Pop()
}

// lockNonEmpty locks the calling CPU's stack with at least one object on it, or
// returns nil without the lock.
func (s *Set) lockNonEmpty() *percpu.Stack {
	st, cpu := s.Slots.TryLock(percpu.Main)
	if st == nil || st.Size() > 0 || swapSpare(st) {
		return st
	}
	return s.replaceEmpty(st, cpu)
}

// swapSpare puts the spare in main's place if it has objects.
func swapSpare(st *percpu.Stack) bool {
	spare := sheafOf(st.Spare)
	if spare == nil || spare.size == 0 {
		return false
	}
	swap(st)
	return true
}

// replaceEmpty finds another sheaf for a locked stack whose main is empty, or
// unlocks it and returns nil (kernel: __pcs_replace_empty_main).
func (s *Set) replaceEmpty(st *percpu.Stack, cpu int) *percpu.Stack {
	b, node := s.barnOf(cpu)
	if s.swapIn(st, b) {
		return st
	}
	st.Unlock()
	// A sheaf whose grace period is over costs no slab work: it goes first. The
	// kernel can't know before the callback has run.
	fresh := s.expired(b)
	if fresh == nil {
		fresh = s.refill(s.findEmpty(b, cpu), node)
	}
	if fresh == nil {
		return nil
	}
	return s.relock(fresh, b)
}

// swapIn puts a spare or a barn's sheaf with objects in main's place.
func (s *Set) swapIn(st *percpu.Stack, b *barn) bool {
	if st.Cap() == 0 {
		return false
	}
	if swapSpare(st) {
		return true
	}
	full := b.replaceEmpty(settle(st))
	if full == nil {
		s.count(BarnGetFail, 1)
		return false
	}
	s.count(BarnGet, 1)
	install(st, full, st.Own())
	return true
}

// refill fills empty, unless it is nil, from the Source. A sheaf that could not be
// filled is given up, with what it got: memory is short, and the caller's single
// object may still be had (kernel: refill_sheaf's callers).
func (s *Set) refill(empty *sheaf, node int) *sheaf {
	if empty == nil {
		return nil
	}
	if !s.fill(empty, node) {
		s.discard(empty)
		return nil
	}
	return empty
}

// fill tops a detached sheaf up and reports whether it is full now.
func (s *Set) fill(sh *sheaf, node int) bool {
	if sh.full() {
		return true
	}
	n := s.Source.Refill(node, sh.room()[sh.size:])
	sh.size += uint32(n)
	s.count(Refilled, n)
	return sh.full()
}

// relock locks the calling CPU's stack, which may be another by now, and uses fresh
// where it fits: in main's place, else as the spare, else in the barn it was filled
// for.
func (s *Set) relock(fresh *sheaf, b *barn) *percpu.Stack {
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil || st.Cap() == 0 || s.retired(fresh) {
		if st != nil {
			st.Unlock()
		}
		s.stow(fresh, b)
		return nil
	}
	var left *sheaf
	spare := sheafOf(st.Spare)
	switch {
	case st.Size() == 0:
		old := settle(st)
		install(st, fresh, st.Own())
		if spare == nil {
			setSpare(st, old)
		} else {
			left = old
		}
	case spare == nil:
		setSpare(st, fresh)
	case spare.size == 0:
		setSpare(st, fresh)
		left = spare
	default:
		left = fresh
	}
	if left == nil {
		return st
	}
	if s.tryStow(left, b) {
		return st
	}
	// The barn's mutex may be waited for only without the stack's lock.
	st.Unlock()
	s.stow(left, b)
	if st, _ = s.Slots.TryLock(percpu.Main); st != nil && st.Size() == 0 {
		st.Unlock()
		return nil
	}
	return st
}

// stow gives a detached sheaf to the barn. Its limits don't apply: the sheaf was
// obtained for this barn, and has nowhere else to go, unless its capacity is none any
// more.
func (s *Set) stow(sh *sheaf, b *barn) {
	size := sh.size // once put, the sheaf may be gone
	if !b.put(sh) {
		s.discard(sh)
		return
	}
	s.countPut(size)
	// Close sets closed before it empties the barns. Whoever puts a sheaf in too
	// late for that sees closed here and empties them again.
	if s.closed.Load() {
		s.shrinkBarns()
	}
}

// tryStow is stow under a stack's lock. False leaves the sheaf with the caller.
func (s *Set) tryStow(sh *sheaf, b *barn) bool {
	size := sh.size
	if !b.tryPut(sh) {
		return false
	}
	s.countPut(size)
	return true
}

func (s *Set) countPut(size uint32) {
	if size > 0 {
		s.count(BarnPut, 1)
	}
}
