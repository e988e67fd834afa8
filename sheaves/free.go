package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// TryFree puts an object of the given node into the sheaves of the calling CPU: into main, or into
// its sheaf for that node, after it has put a sheaf with room there if need be. False leaves the
// object with the caller: the stack's lock is held, memory is short, the goroutine has migrated, or
// the Set is closed. It is what a caller of package slub's kind falls back on when its own push has
// found main full. (Kernel: free_to_pcs, for the CPU's own node.)
func (s *Set) TryFree(obj unsafe.Pointer, node int) bool {
	c := s.sheavesFor(node)
	if c == nil {
		return false
	}
	st := c.lockNonFull(node)
	if st == nil {
		return false
	}
	st.Push(obj)
	c.unlock(st)
	return true
}

// lockNonFull locks the calling CPU's stack with room for at least one object of the given node, or
// returns nil without the lock. A CPU of another node has another owner word, so that a migration
// in between is noticed here; a closed stack has the word 0.
func (c *cpuSheaves) lockNonFull(node int) *percpu.Stack {
	st, cpu := c.lockMain()
	if st == nil {
		return nil
	}
	own := c.set.owners[node]
	if st.Own() != own {
		unused := c.isRemote && st.Own() == 0
		c.unlock(st)
		if !unused {
			return nil
		}
		if st = c.install(node); st == nil {
			return nil
		}
		if st.Size() == st.Cap() { // another goroutine has installed and filled it
			c.unlock(st)
			return nil
		}
		return st
	}
	if st.Size() == st.Cap() {
		return c.replaceFull(st, cpu, own)
	}
	return st
}

// replaceFull finds another sheaf for a locked stack whose main is full, or unlocks it and returns
// nil (kernel: __pcs_replace_full_main).
func (c *cpuSheaves) replaceFull(st *percpu.Stack, cpu int, own owner.Word) *percpu.Stack {
	b, _ := c.barnOf(cpu)
	why := c.swapOut(st, b)
	if why == accepted {
		return st
	}
	if why == tooMany {
		// The spare is flushed rather than main, whose objects are the hottest.
		c.set.count(BarnPutFail, 1)
		spare := sheafOf(st.Spare)
		setSpare(st, nil)
		st.Unlock()
		c.set.flushPortion(spare, b)
		return c.installRoom(spare, b, own)
	}
	st.Unlock()
	empty, err := c.set.newSheaf(c.set.Capacity())
	if err == nil {
		return c.installRoom(empty, b, own)
	}
	if why != noSpare {
		c.set.count(BarnPutFail, 1)
	}
	return c.makeRoom(own)
}

// swapOut makes room under the lock that the caller holds: by the spare, or by the barn.
func (c *cpuSheaves) swapOut(st *percpu.Stack, b *barn) refusal {
	spare := sheafOf(st.Spare)
	if spare != nil && !spare.full() {
		spillToSpare(st)
		return accepted
	}
	if spare == nil {
		empty := b.getEmpty()
		if empty == nil {
			return noSpare
		}
		setSpare(st, detachMain(st))
		install(st, empty, st.Own())
		return accepted
	}
	empty, why := b.replaceFull(detachMain(st), c.set.MaxFull())
	if why == accepted {
		c.set.count(BarnPut, 1)
		install(st, empty, st.Own())
	}
	return why
}

// installRoom locks the calling CPU's stack again and gives it room: by sh, which has some, if that
// is needed.
func (c *cpuSheaves) installRoom(sh *sheaf, b *barn, own owner.Word) *percpu.Stack {
	st, _ := c.lockMain()
	if st == nil || st.Own() != own || c.set.staleCapacity(sh) {
		if st != nil {
			st.Unlock()
		}
		if sh.size > 0 && b.fulls() >= c.set.MaxFull() {
			c.set.flushSheaf(sh) // no barn grows by operations that are interrupted here
		}
		c.set.putInBarn(sh, b)
		return nil
	}
	left := sh
	spare := sheafOf(st.Spare)
	switch {
	case spare == nil:
		setSpare(st, detachMain(st))
		install(st, sh, own)
		return st
	case st.Size() < st.Cap():
	case !spare.full():
		spillToSpare(st)
	default:
		// Main and spare are full, and the barn had no empty sheaf to trade. It takes main beyond
		// its limit: otherwise the order of main and spare would be lost.
		left = detachMain(st)
		install(st, sh, own)
	}
	if c.set.tryPutInBarn(left, b) {
		return st
	}
	st.Unlock()
	c.set.putInBarn(left, b)
	return nil
}

// makeRoom flushes main in place, when there is no memory for an empty sheaf.
func (c *cpuSheaves) makeRoom(own owner.Word) *percpu.Stack {
	if c.flushMain(percpu.CPU(), false) == 0 {
		return nil
	}
	st, _ := c.lockMain()
	if st == nil {
		return nil
	}
	if st.Own() != own || st.Size() == st.Cap() {
		c.unlock(st)
		return nil
	}
	return st
}
