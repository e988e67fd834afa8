package percpu

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// newTrylock returns the engine of systems without rseq. Each operation takes the
// stack's lock for a few instructions, pinned to its P so that Go does not
// preempt the holder; a held stack means the slow path, as in the other engine.
// Which CPU's stack it takes is a matter of locality alone.
func newTrylock() engine {
	return engine{
		name:       "trylock",
		lock:       lockHinted,
		lockNoWait: lockHinted,
		fence:      func(int) {}, // operations hold the lock themselves
		cpu:        hint,
		initPop:    initPopLocked,
		initFree:   initFreeLocked,

		initPopBySize:   (*PopBySize).pass,
		initFreeByOwner: (*FreeByOwner).pass,
	}
}

func hinted(slots uintptr) (*Stack, int) {
	cpu := hint()
	return mem.At[Stack](slots + uintptr(cpu)<<rowShift), cpu
}

// tryLockLocal is tryLock where no sequence may overwrite the gate.
func (s *Stack) tryLockLocal() bool {
	_, ok := s.tryLock(0)
	return ok
}

func lockHinted(slots uintptr) int {
	if st, cpu := hinted(slots); st.tryLockLocal() {
		return cpu
	}
	return -1
}

func initPopLocked(p *Pop) {
	slow := p.slow
	p.Pass(func() (unsafe.Pointer, error) {
		procPin()
		var obj unsafe.Pointer
		if st, _ := hinted(p.slots); st.tryLockLocal() {
			if size := st.head & sizeMask; size > 0 {
				obj = *mem.At[unsafe.Pointer](st.objs + uintptr(size-1)*8)
				mem.Store64(&st.head, st.head+popOne)
			}
			st.Unlock()
		}
		procUnpin()
		if obj == nil {
			return slow()
		}
		return obj, nil
	})
}

func initFreeLocked(f *Free) {
	slow := f.slow
	f.pass()
	f.slow = func(p unsafe.Pointer) {
		own, done := f.Owner(p), false
		procPin()
		if st, _ := hinted(f.slots); st.tryLockLocal() {
			if size := st.head & sizeMask; own == st.Own() && size < st.cap {
				*mem.At[uintptr](st.objs + uintptr(size)*8) = uintptr(p)
				mem.Store64(&st.head, st.head+pushOne)
				done = true
			}
			st.Unlock()
		}
		procUnpin()
		if !done {
			slow(p)
		}
	}
}
