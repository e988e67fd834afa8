package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// newTrylock returns the engine of systems without rseq. Each operation takes the stack's lock for
// a few instructions. It is pinned to its P meanwhile, so that Go does not preempt the holder. If
// the stack is held, the operation takes the slow path, as in the other engine. It may take any
// CPU's stack; the hint is for locality only.
func newTrylock() engine {
	return engine{
		name:       "trylock",
		lock:       lockHinted,
		lockNoWait: lockHintedNoWait,
		fence:      func(int) {}, // operations take the lock themselves
		cpu:        hint,
		cpuNow:     hintNow,
		initPop:    initPopLocked,
		initFree:   initFreeLocked,

		initPopBySize:   (*PopBySize).setSlowCode,
		initFreeByOwner: (*FreeByOwner).setSlowCode,

		initSliceBySize:      (*SliceBySize).setSlowCode,
		initFreeSliceByOwner: (*FreeSliceByOwner).setSlowCode,
	}
}

// hintNow is hint, and exact where the kernel tells.
func hintNow() int {
	if knowsCPU() {
		return hint()
	}
	return findP()
}

// hinted returns the stack of the CPU that the caller probably runs on.
func hinted(slots uintptr) (*Stack, int) {
	cpu := hint()
	return mem.At[Stack](slots + uintptr(cpu)<<rowShift), cpu
}

// tryLockLocal is tryLock in an engine without sequences, which could overwrite the gate.
func (s *Stack) tryLockLocal() bool {
	_, ok := s.tryLock(0)
	return ok
}

// mayPop and mayPush keep operations from the lock of a stack that has no object, or no array. Such
// a stack may have no mark, and then stays zeroed; see marks.go.
func (s *Stack) mayPop() bool  { return atomic.LoadUint64(&s.head)&sizeMask != 0 }
func (s *Stack) mayPush() bool { return atomic.LoadUint64(&s.cap) != 0 }

// lockHinted locks the stack of the CPU that the caller probably runs on. Without an instruction
// that tells the CPU, this is where a P that has moved is found: if its stack is empty or full, so
// that objects of a node will be asked for or given back, and otherwise now and then.
func lockHinted(slots uintptr) int {
	if !knowsCPU() {
		st, cpu := hinted(slots)
		if size := atomic.LoadUint64(&st.head) & sizeMask; size == 0 || size >= atomic.LoadUint64(&st.cap) || timeToLook() {
			findP()
		} else if st.tryLockLocal() {
			return cpu
		}
	}
	return lockHintedNoWait(slots)
}

// timeToLook is true for every 16th call of a P.
func timeToLook() bool {
	p := procPin()
	n := cpuOfP[p%maxPs].looks.Add(1)
	procUnpin()
	return n%16 == 0
}

// lockHintedNoWait is lockHinted without a system call.
func lockHintedNoWait(slots uintptr) int {
	if st, cpu := hinted(slots); st.tryLockLocal() {
		return cpu
	}
	return -1
}

func initPopLocked(p *Pop) {
	slow := p.slow
	p.SetSlowOnly(func() (unsafe.Pointer, error) {
		procPin()
		var obj unsafe.Pointer
		popped := false // obj is nil, too, where the array was overwritten
		if st, _ := hinted(p.slots); st.mayPop() && st.tryLockLocal() {
			if size := st.head & sizeMask; size > 0 && !st.Due() {
				obj = *mem.At[unsafe.Pointer](st.objs + uintptr(size-1)*8)
				mem.Store64(&st.head, st.head+popOne)
				popped = true
			}
			st.Unlock()
		}
		procUnpin()
		if !popped {
			return slow()
		}
		return obj, nil
	})
}

func initFreeLocked(f *Free) {
	slow := f.slow
	f.setSlowCode()
	f.slow = func(p unsafe.Pointer) {
		own, done := f.Owner(p), false
		procPin()
		if st, _ := hinted(f.slots); st.mayPush() && st.tryLockLocal() {
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
