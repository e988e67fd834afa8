package sheaves

import "github.com/slubd/slubd/internal/percpu"

// When a CPU first comes to a slow path, it gets its main sheaf for objects of its own node, and
// both of its stacks get the node's owner word. Before that the stacks are zeroed, like those of a
// closed Set: every operation takes the slow path. To tell the two apart the functions here look at
// closed under the stack's lock. That pairs with CloseContext, which sets closed before it visits
// the CPUs that have taken a lock: either it finds this CPU's stack and waits for its lock, or
// closed is seen here, and the stack stays as it is. (See percpu's marks.)
//
// The node of a CPU that was added while the program runs is asked of the kernel here. From then on
// it stays the same, so that the CPU's owner words, barn and ranks always belong to one node. Until
// it is known the CPU's stacks stay unused. That outlasts the first slow path if the goroutine has
// moved to another CPU before it could ask, and ends with one of the next.

// lock locks the calling CPU's stack of kind k, or returns nil if its lock is held. If the stack is
// unused since the CPU's node isn't known, it asks the kernel first. No lock is held.
func (c *cpuSheaves) lock(k percpu.Kind) (st *percpu.Stack, cpu int) {
	st, cpu = c.slots.TryLock(k)
	if st == nil || st.Own() != 0 || c.set.homes.Known(cpu) {
		return st, cpu
	}
	c.unlock(st) // a system call must not be made under it
	c.set.nodes.Find(cpu)
	return c.slots.TryLock(k)
}

// lockMain locks the calling CPU's main stack, or returns nil if its lock is held. On a CPU's first
// call it installs a main sheaf. Without memory for one the stack is as that of a closed Set. The
// stacks of remote are left to install. No lock is held.
func (c *cpuSheaves) lockMain() (st *percpu.Stack, cpu int) {
	st, cpu = c.lock(percpu.Main)
	if st == nil || c.isRemote || st.Sheaf != 0 || !c.mayUse(cpu) {
		return st, cpu
	}
	sh := c.set.barns[c.node(cpu)].getEmpty()
	if sh == nil {
		st.Unlock()
		var err error
		if sh, err = c.set.newSheaf(c.set.Capacity()); err != nil {
			return c.slots.TryLock(percpu.Main)
		}
		st, cpu = c.slots.TryLock(percpu.Main)
	}
	if st != nil && c.installFirst(st, cpu, sh) {
		return st, cpu
	}
	if st != nil {
		st.Unlock()
	}
	c.set.freeSheaf(sh)
	return c.slots.TryLock(percpu.Main)
}

// mayUse reports whether a CPU's locked stack may get the owner word of its node: that is known,
// and the Set is not closed.
func (c *cpuSheaves) mayUse(cpu int) bool { return c.set.homes.Known(cpu) && !c.set.closed.Load() }

// installFirst makes sh the main sheaf of a locked stack, if the stack has none yet. False leaves
// sh with the caller.
func (c *cpuSheaves) installFirst(st *percpu.Stack, cpu int, sh *sheaf) bool {
	if st.Sheaf != 0 || !c.mayUse(cpu) || c.set.staleCapacity(sh) {
		return false
	}
	install(st, sh, c.set.owners[c.node(cpu)])
	c.set.armSample(st)
	return true
}

// lockRCU locks the calling CPU's RCU stack, or returns nil if its lock is held. On a CPU's first
// call it gives the stack its owner word.
func (c *cpuSheaves) lockRCU() (st *percpu.Stack, cpu int) {
	st, cpu = c.lock(percpu.RCU)
	if st != nil && !c.isRemote && st.Own() == 0 && c.mayUse(cpu) {
		st.Install(0, 0, 0, c.set.owners[c.node(cpu)])
	}
	return st, cpu
}
