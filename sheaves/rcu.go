package sheaves

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// TryFreeRCU puts an object of the given node into the calling CPU's rcu_free for that node: a
// caller's own push has found none yet, or obj is the one that fills it. False leaves the object
// with the caller, for which there must be another way to wait for a grace period. (Kernel:
// __kfree_rcu_sheaf.)
//
// A stack shows one place less than its sheaf has, so that the object that fills the sheaf always
// comes here and takes the sheaf along to the barn. At the Backlog's hard limit no CPU gets an
// rcu_free. A call that finds none waits there as w says.
func (s *Set) TryFreeRCU(obj unsafe.Pointer, node int, w Wait) bool {
	c := s.sheavesFor(node)
	if c == nil {
		if s.Rank(node) != math.MaxInt { // there is no memory for the stacks
			s.count(FreeRCUSheafFail, 1)
		}
		return false
	}
	own := s.owners[node]
	st, cpu := c.lockRCU()
	if st != nil && c.mayInstall(st, cpu, node) {
		st.Install(0, 0, 0, own)
	}
	if st != nil && st.Own() == own && st.Sheaf == 0 && !c.adoptEmpty(st, cpu) {
		st.Unlock()
		st, cpu = c.installRCU(cpu, own, w)
	}
	if st == nil || st.Own() != own {
		if st != nil {
			st.Unlock()
		}
		s.count(FreeRCUSheafFail, 1)
		return false
	}
	if st.Size() < st.Cap() {
		st.Push(obj)
		st.Unlock()
		s.armTimer()
		s.backlog.CheckSoftLimit()
		return true
	}
	sh := detachRCU(st)
	sh.slots()[sh.size] = obj
	sh.size++
	st.CountPush()
	b := c.start(sh, cpu, false)
	st.Unlock()
	s.armFor(b, b.moreThan(s.MaxWaiting(), cpu))
	s.backlog.CheckSoftLimit()
	return true
}

// adoptEmpty makes an empty sheaf of the barn's the rcu_free of a locked stack. It does nothing if
// the CPU's spare looks empty, which should be taken first, or the Backlog is at its limit.
func (c *cpuSheaves) adoptEmpty(st *percpu.Stack, cpu int) bool {
	if c.slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		return false
	}
	n := c.set.Capacity()
	if !c.set.backlog.TryCharge(c.set.bytes(n)) {
		return false
	}
	b, _ := c.barnOf(cpu)
	empty := b.getEmpty()
	if empty == nil {
		c.set.backlog.Release(c.set.bytes(n))
		return false
	}
	c.set.useRCU(st, empty, n)
	return true
}

// useRCU makes empty, for which n objects are charged, the rcu_free of a locked stack. It may be of
// another capacity, if SetCapacity came in between.
func (s *Set) useRCU(st *percpu.Stack, empty *sheaf, n int) {
	s.backlog.Adjust(s.bytes(n), s.bytes(int(empty.limit)))
	empty.charged = empty.limit
	st.Install(empty.array(), 0, int(empty.limit)-1, st.Own())
	st.Sheaf = empty.addr()
}

// bytes is the size of n objects.
func (s *Set) bytes(n int) int64 { return int64(n) * int64(s.objectSize) }

// discharge lowers what is charged for sh to n objects.
func (s *Set) discharge(sh *sheaf, n uint32) {
	if sh.charged > n {
		s.backlog.Release(s.bytes(int(sh.charged - n)))
		sh.charged = n
	}
}

// installRCU finds an empty sheaf and makes it the calling CPU's rcu_free, unless that CPU has one
// by now. The stack is returned locked, or nil.
func (c *cpuSheaves) installRCU(cpu int, own owner.Word, w Wait) (*percpu.Stack, int) {
	n := c.set.Capacity()
	c.set.backlog.Charge(c.set.bytes(n), w)
	st, cpu, installed := c.installCharged(cpu, own, n)
	if !installed {
		c.set.backlog.Release(c.set.bytes(n))
	}
	return st, cpu
}

// installCharged is installRCU with n objects charged for the sheaf.
func (c *cpuSheaves) installCharged(cpu int, own owner.Word, n int) (_ *percpu.Stack, at int, installed bool) {
	b, _ := c.barnOf(cpu)
	empty := c.findEmpty(b, cpu)
	if empty == nil {
		return nil, -1, false
	}
	st, cpu := c.lockRCU()
	if st != nil && st.Own() == own && !c.set.staleCapacity(empty) {
		if st.Sheaf == 0 {
			c.set.useRCU(st, empty, n)
			return st, cpu, true
		}
		if c.set.tryPutInBarn(empty, b) {
			return st, cpu, false
		}
	}
	if st != nil {
		st.Unlock()
	}
	c.set.putInBarn(empty, b)
	return nil, -1, false
}

// detachRCU takes rcu_free off its stack, which the caller has locked.
func detachRCU(st *percpu.Stack) *sheaf {
	sh := detachMain(st)
	st.Install(0, 0, 0, st.Own())
	st.Sheaf = 0
	return sh
}

// start gives a sheaf its token, for a grace period that begins now, and parks it. The caller holds
// the lock of the stack that the sheaf was on: if that were released before, a Barrier could find
// the objects neither on the stack nor in the barn (the kernel had that bug until 6.18).
func (c *cpuSheaves) start(sh *sheaf, cpu int, noBarn bool) *barn {
	b, node := c.barnOf(cpu)
	sh.node, sh.noBarn = uint16(node), noBarn
	c.set.discharge(sh, sh.size)
	sh.token = c.set.domain.Start()
	b.park(sh, cpu)
	return b
}

// startCPU starts a CPU's rcu_free, however full, and moves its grace period on. A CPU without one
// is not interrupted.
func (c *cpuSheaves) startCPU(cpu int, noBarn bool) {
	if b := c.detachAndStart(cpu, noBarn); b != nil {
		c.set.arm(b)
	}
}

// detachAndStart starts a CPU's rcu_free and returns the barn where it waits, nil if there was
// none. Snapshot waits for the holder of the stack's lock, and so for one that has taken the sheaf
// off the stack until the sheaf is in the barn.
func (c *cpuSheaves) detachAndStart(cpu int, noBarn bool) *barn {
	if !c.slots.Snapshot(cpu, percpu.RCU).HasSheaf {
		return nil
	}
	st := c.slots.LockCPU(cpu, percpu.RCU)
	if st.Sheaf == 0 {
		c.unlock(st)
		return nil
	}
	sh := detachRCU(st)
	b := c.start(sh, cpu, noBarn)
	st.Unlock()
	return b
}
