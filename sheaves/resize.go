package sheaves

import (
	"slices"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
)

// SetCapacity changes how many objects a sheaf holds, and how many sheaves a barn lets wait, as in
// Config: 0 is automatic. When it returns, no CPU and no barn's list holds a sheaf of another
// capacity, and none comes there any more: what they held has gone to the Source. Sheaves of the
// old capacity that wait for a grace period or are lent go when that ends. Any goroutine may call
// it, but not the Source or a callback of the Domain. It waits for stacks' locks as Flush does, and
// never for a grace period.
//
// Errors, with nothing changed: ErrConfig; that of a mapping which the kernel refused; ErrClosed.
//
// Order: store the new capacity, then empty every barn, then resize every CPU. A sheaf is compared
// with the capacity under the lock of the stack that it enters. So one of the old capacity either
// entered before this visits the stack, which then finds it, or the lock has shown the new
// capacity. What a stack takes from a barn after its own visit comes from a barn that was emptied
// before.
func (s *Set) SetCapacity(capacity, maxWaiting int) error {
	if capacity == 0 {
		capacity = Capacity(s.objectSize, 0)
	}
	p := problems()
	p.Within("Capacity", int64(capacity), 1, percpu.MaxCap)
	checkLimit(&p, "MaxWaiting", maxWaiting)
	if err := p.Err(); err != nil {
		return err
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	if capacity != s.Capacity() {
		mains, err := s.newMains(capacity, len(slices.Collect(s.slots.CPUs())))
		if err != nil {
			return err
		}
		s.capacity.Store(int32(capacity))
		s.pool.retain(capacity)
		defer func() { s.discardAll(mains, list{}) }()
		callback.Each(s.resizing(capacity, &mains), func(visit func()) { visit() })
	}
	s.maxWaiting.Store(limit(maxWaiting, defaultWaiting))
	return nil
}

// resizing returns the visits that SetCapacity makes, in their order. All are made even if the
// Source doesn't return from what one gives it: nothing would make up for them later.
func (s *Set) resizing(capacity int, mains *list) (visits []func()) {
	for i := range s.barns {
		visits = append(visits, func() { s.discardAll(s.barns[i].setCapacity(capacity)) })
	}
	resize := func(c *cpuSheaves) {
		if c != nil {
			callback.Each(slices.Collect(c.slots.CPUs()), func(cpu int) { c.resizeCPU(cpu, mains) })
		}
	}
	visits = append(visits, func() { resize(&s.cpuSheaves) })
	for rank := range s.byRank {
		visits = append(visits, func() { resize(s.byRank[rank].Load()) })
	}
	return visits
}

// newMains makes n main sheaves.
func (s *Set) newMains(capacity, n int) (mains list, err error) {
	for range n {
		sh, err := s.newSheaf(capacity)
		if err != nil {
			s.discardAll(mains, list{})
			return list{}, err
		}
		mains.push(sh)
	}
	return mains, nil
}

// resizeCPU replaces what a CPU holds of a stale capacity. Its rcu_free waits for a grace period of
// its own, after which its capacity keeps it from the barn.
//
// It takes the lock of main even if the stack looks unused. The CPU's own operations take a lock by
// a plain store, which may not be visible here yet while they already look at the capacity. Taking
// a lock from elsewhere is a barrier on that CPU (percpu.TryLockCPU): what had locked one of the
// CPU's stacks before is seen here, main's holder by LockCPU and that of rcu_free by Snapshot, and
// what locks one later finds the new capacity.
func (c *cpuSheaves) resizeCPU(cpu int, mains *list) {
	if c.isRemote {
		c.emptyCPU(cpu) // the stack is unused afterwards
		c.resizeRCU(cpu)
		return
	}
	var old list
	st := c.slots.LockCPU(cpu, percpu.Main)
	if spare := sheafOf(st.Spare); spare != nil && c.set.staleCapacity(spare) {
		setSpare(st, nil)
		old.push(spare)
	}
	if main := sheafOf(st.Sheaf); main != nil && c.set.staleCapacity(main) {
		old.push(detachMain(st))
		if fresh := mains.pop(); fresh != nil {
			install(st, fresh, st.Own())
		} else { // the CPU got its first sheaf after mains were made: it gets another one
			st.Install(0, 0, 0, 0)
			st.Sheaf = 0
		}
	}
	st.Unlock()
	c.set.discardAll(old, list{})
	c.resizeRCU(cpu)
}

// resizeRCU is the part of resizeCPU that concerns rcu_free. It comes after main's part.
func (c *cpuSheaves) resizeRCU(cpu int) {
	if !c.slots.Snapshot(cpu, percpu.RCU).HasSheaf {
		return
	}
	st := c.slots.LockCPU(cpu, percpu.RCU)
	if sh := sheafOf(st.Sheaf); sh == nil || !c.set.staleCapacity(sh) {
		st.Unlock()
		return
	}
	b := c.start(detachRCU(st), cpu, false)
	st.Unlock()
	c.set.arm(b)
}
