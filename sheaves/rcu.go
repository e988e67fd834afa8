package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// FreeRCU is what percpu.Free falls back on for rcu_free: there is none yet, or obj
// is the one that fills it. False means that the caller finds obj another way to
// wait (kernel: __kfree_rcu_sheaf).
//
// A stack shows one place less than its sheaf has, so that the object that fills
// the sheaf always comes here and takes it along to the barn. At the Backlog's hard
// limit no CPU gets an rcu_free; whoever finds none waits here, if he may.
func (s *Set) FreeRCU(obj unsafe.Pointer, own uint32, mayWait bool) bool {
	st, cpu := s.Slots.TryLock(percpu.RCU)
	if st != nil && st.Own() == own && st.Sheaf == 0 && !s.adoptEmpty(st, cpu) {
		st.Unlock()
		st, cpu = s.installRCU(cpu, own, mayWait)
	}
	if st == nil || st.Own() != own {
		if st != nil {
			st.Unlock()
		}
		s.count(RCUFail, 1)
		return false
	}
	if st.Size() < st.Cap() {
		st.Push(obj)
		st.Unlock()
		s.armTimer()
		s.Backlog.Relieve()
		return true
	}
	sh := detachRCU(st)
	sh.room()[sh.size] = obj
	sh.size++
	st.CountPush()
	b := s.submit(sh, cpu, false)
	st.Unlock()
	s.arm(b)
	s.Backlog.Relieve()
	return true
}

// adoptEmpty makes an empty sheaf of the barn's a locked stack's rcu_free, unless the
// CPU's spare looks empty, which should be taken first, or the Backlog has its fill.
func (s *Set) adoptEmpty(st *percpu.Stack, cpu int) bool {
	if s.Slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		return false
	}
	n := s.Capacity()
	if !s.Backlog.TryCharge(s.bytes(n)) {
		return false
	}
	b, _ := s.barnOf(cpu)
	empty := b.getEmpty()
	if empty == nil {
		s.Backlog.Release(s.bytes(n))
		return false
	}
	s.useRCU(st, empty, n)
	return true
}

// useRCU makes empty, for which n objects are charged, a locked stack's rcu_free. It may
// be of another capacity, if SetCapacity came in between.
func (s *Set) useRCU(st *percpu.Stack, empty *sheaf, n int) {
	s.Backlog.correct(s.bytes(n), s.bytes(int(empty.limit)))
	empty.charged = empty.limit
	st.Install(empty.array(), 0, int(empty.limit)-1, st.Own())
	st.Sheaf = empty.word()
}

// bytes is the size of n objects.
func (s *Set) bytes(n int) uintptr { return uintptr(n) * s.ObjectSize }

// discharge lowers what is charged for sh to n objects.
func (s *Set) discharge(sh *sheaf, n uint32) {
	if sh.charged > n {
		s.Backlog.Release(s.bytes(int(sh.charged - n)))
		sh.charged = n
	}
}

// installRCU finds an empty sheaf and makes it the calling CPU's rcu_free, unless
// that CPU has one by now. The stack is returned locked, or nil.
func (s *Set) installRCU(cpu int, own uint32, mayWait bool) (*percpu.Stack, int) {
	n := s.Capacity()
	s.Backlog.Charge(s.bytes(n), mayWait)
	st, cpu, installed := s.installCharged(cpu, own, n)
	if !installed {
		s.Backlog.Release(s.bytes(n))
	}
	return st, cpu
}

// installCharged is installRCU with n objects charged for the sheaf.
func (s *Set) installCharged(cpu int, own uint32, n int) (_ *percpu.Stack, at int, installed bool) {
	b, _ := s.barnOf(cpu)
	empty := s.findEmpty(b, cpu)
	if empty == nil {
		return nil, -1, false
	}
	st, cpu := s.Slots.TryLock(percpu.RCU)
	if st != nil && st.Own() == own && !s.retired(empty) {
		if st.Sheaf == 0 {
			s.useRCU(st, empty, n)
			return st, cpu, true
		}
		if b.tryPut(empty) {
			return st, cpu, false
		}
	}
	if st != nil {
		st.Unlock()
	}
	s.stow(empty, b)
	return nil, -1, false
}

// findEmpty gets an empty sheaf: the CPU's spare if that is empty, else one of the
// barn's, else a new one; nil if there is no memory.
func (s *Set) findEmpty(b *barn, cpu int) (empty *sheaf) {
	if s.Slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		empty = s.takeEmptySpare()
	}
	if empty == nil {
		empty = b.getEmpty()
	}
	if empty == nil {
		empty, _ = s.newSheaf(s.Capacity())
	}
	return empty
}

func (s *Set) takeEmptySpare() *sheaf {
	st, _ := s.Slots.TryLock(percpu.Main)
	if st == nil {
		return nil
	}
	defer st.Unlock()
	spare := sheafOf(st.Spare)
	if spare == nil || spare.size > 0 {
		return nil
	}
	setSpare(st, nil)
	return spare
}

// detachRCU takes rcu_free off its stack, which the caller has locked.
func detachRCU(st *percpu.Stack) *sheaf {
	sh := settle(st)
	st.Install(0, 0, 0, st.Own())
	st.Sheaf = 0
	return sh
}

// submit stamps a sheaf with a grace period that begins now and parks it. The
// caller holds the stack's lock: were it released before, a Barrier could find
// neither the stack's objects nor the barn's (the kernel had that bug until 6.18).
func (s *Set) submit(sh *sheaf, cpu int, noBarn bool) *barn {
	b, node := s.barnOf(cpu)
	sh.node, sh.noBarn = uint16(node), noBarn
	s.discharge(sh, sh.size)
	sh.token = s.Domain.Start()
	b.park(sh)
	return b
}

// submitCPU submits a CPU's rcu_free, however full.
func (s *Set) submitCPU(cpu int, noBarn bool) {
	st := s.Slots.LockCPU(cpu, percpu.RCU)
	if st.Sheaf == 0 {
		st.Unlock()
		return
	}
	sh := detachRCU(st)
	b := s.submit(sh, cpu, noBarn)
	st.Unlock()
	s.arm(b)
}
