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
	p, _ := s.TryAllocNoWaitSample()
	return p
}

// TryAllocNoWaitSample is TryAllocNoWait for a caller that samples, and counts what it can't. With
// picked the allocation is one of those that are picked, and has got an object like the
// others: to make it a sample takes what may have to be waited for.
func (s *Set) TryAllocNoWaitSample() (p unsafe.Pointer, picked bool) {
	st, cpu := s.slots.TryLockNoWait(percpu.Main)
	if st == nil {
		return nil, false
	}
	b, _ := s.barnOf(cpu)
	if st.Size() > 0 || s.swapIn(st, b) || s.adoptFull(st, cpu) {
		picked = st.Due() && s.rearm(st) > 0
		p = st.Pop()
	}
	s.unlock(st)
	return p, picked
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
