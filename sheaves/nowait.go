package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// AllocNoWait is Alloc for callers that must not wait: it takes an object from main,
// spare or one of the barn's full sheaves, or returns nil. All that happens under the
// stack's lock, where nobody waits for anything anyway; beyond that it makes no system
// call to get there, and doesn't go on to the Source (kernel: alloc_from_pcs without
// ALLOC_SPIN).
func (s *Set) AllocNoWait() unsafe.Pointer {
	st, cpu := s.Slots.TryLockNoWait(percpu.Main)
	if st == nil {
		return nil
	}
	var p unsafe.Pointer
	b, _ := s.barnOf(cpu)
	if st.Size() > 0 || s.swapIn(st, b) {
		p = st.Pop()
	}
	st.Unlock()
	return p
}
