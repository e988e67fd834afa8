package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// TryAllocNoWait is TryAlloc for callers that must not wait: it takes an object from main, spare or
// one of the barn's full sheaves, or returns nil. All of that happens under the stack's lock, where
// nothing is ever waited for. It makes no system call to get the lock, and never calls the Source.
// (Kernel: alloc_from_pcs without ALLOC_SPIN.)
func (s *Set) TryAllocNoWait() unsafe.Pointer {
	st, cpu := s.slots.TryLockNoWait(percpu.Main)
	if st == nil {
		return nil
	}
	var p unsafe.Pointer
	b, _ := s.barnOf(cpu)
	if st.Size() > 0 || s.swapIn(st, b) || s.adoptFull(st, cpu) {
		if st.Due() {
			s.rearm(st) // what is picked is lost
		}
		p = st.Pop()
	}
	s.unlock(st)
	return p
}

// adoptFull makes a full sheaf of the barn of a CPU's node the first main of its locked stack, if
// the node is known without a system call. The barn is looked up when it is: before, it may have
// been another one.
func (s *Set) adoptFull(st *percpu.Stack, cpu int) bool {
	if st.Sheaf != 0 || !s.homes.Known(cpu) || s.closed.Load() {
		return false
	}
	b := &s.barns[s.node(cpu)]
	if b.fulls() == 0 || !b.tryLock() {
		return false
	}
	var full *sheaf
	if b.limit == uint32(s.Capacity()) {
		full = b.full.pop()
	}
	b.unlock()
	if full == nil {
		return false
	}
	s.count(BarnGet, 1)
	install(st, full, s.owners[s.node(cpu)])
	s.armSample(st)
	return true
}
