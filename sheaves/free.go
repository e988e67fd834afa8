package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// Free is what percpu.Free falls back on for an object of the calling CPU's node:
// it finds main a sheaf with room and puts obj there. False means that the caller
// frees obj to its slab.
func (s *Set) Free(obj unsafe.Pointer, own uint32) bool {
	st := s.lockNonFull(own)
	if st == nil {
		return false
	}
	st.Push(obj)
	st.Unlock()
	return true
}

// lockNonFull locks the calling CPU's stack with room for at least one object of
// owner own, or returns nil without the lock. A CPU of another node has another
// owner word, so that a migration in between is noticed here; a closed one has none.
func (s *Set) lockNonFull(own uint32) *percpu.Stack {
	st, cpu := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return nil
	}
	if st.Own() != own {
		st.Unlock()
		return nil
	}
	if st.Size() == st.Cap() {
		return s.replaceFull(st, cpu, own)
	}
	return st
}

// replaceFull finds another sheaf for a locked stack whose main is full, or unlocks
// it and returns nil (kernel: __pcs_replace_full_main).
func (s *Set) replaceFull(st *percpu.Stack, cpu int, own uint32) *percpu.Stack {
	b, _ := s.barnOf(cpu)
	why := s.swapOut(st, b)
	if why == accepted {
		return st
	}
	if why == tooMany {
		// The spare is flushed rather than main, whose objects are the hottest.
		s.count(BarnPutFail, 1)
		spare := sheafOf(st.Spare)
		setSpare(st, nil)
		st.Unlock()
		s.flushSheaf(spare)
		return s.installEmpty(spare, b, own)
	}
	st.Unlock()
	empty, err := s.newSheaf(s.Capacity())
	if err == nil {
		return s.installEmpty(empty, b, own)
	}
	if why != noSpare {
		s.count(BarnPutFail, 1)
	}
	return s.makeRoom(own)
}

// swapOut makes room without leaving the lock: by the spare, or by the barn.
func (s *Set) swapOut(st *percpu.Stack, b *barn) refusal {
	spare := sheafOf(st.Spare)
	if spare != nil && !spare.full() {
		swap(st)
		return accepted
	}
	if spare == nil {
		empty := b.getEmpty()
		if empty == nil {
			return noSpare
		}
		setSpare(st, settle(st))
		install(st, empty, st.Own())
		return accepted
	}
	empty, why := b.replaceFull(settle(st), s.MaxFull())
	if why == accepted {
		s.count(BarnPut, 1)
		install(st, empty, st.Own())
	}
	return why
}

// installEmpty locks the calling CPU's stack again and gives it room, with empty
// where it is needed.
func (s *Set) installEmpty(empty *sheaf, b *barn, own uint32) *percpu.Stack {
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil || st.Own() != own || s.retired(empty) {
		if st != nil {
			st.Unlock()
		}
		s.stow(empty, b)
		return nil
	}
	left := empty
	spare := sheafOf(st.Spare)
	switch {
	case spare == nil:
		setSpare(st, settle(st))
		install(st, empty, own)
		return st
	case st.Size() < st.Cap():
	case !spare.full():
		swap(st)
	default:
		// Main and spare are full, and the barn had no empty sheaf to trade: it
		// takes this one beyond its limit rather than lose the order of the two.
		left = settle(st)
		install(st, empty, own)
	}
	if s.tryStow(left, b) {
		return st
	}
	st.Unlock()
	s.stow(left, b)
	return nil
}

// makeRoom flushes main in place, for want of an empty sheaf.
func (s *Set) makeRoom(own uint32) *percpu.Stack {
	if s.flushMain(percpu.CPU(), false) == 0 {
		return nil
	}
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return nil
	}
	if st.Own() != own || st.Size() == st.Cap() {
		st.Unlock()
		return nil
	}
	return st
}
