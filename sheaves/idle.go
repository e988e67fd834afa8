package sheaves

import (
	"context"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
)

// GiveBack reclaims the sheaves whose grace period is over and gives the Source every free object
// that barns and CPUs hold, and returns how many. Sheaves that wait for a grace period stay. It is
// what an allocation does before it fails for lack of memory. Where nothing is kept it costs a few
// loads for each CPU and barn.
//
// Any goroutine that holds no lock and is not in the Source. It waits for stacks' locks as Flush
// does, but not for another Flush, SetCapacity or Close, since destructors and hooks may run while
// these hold flushing. It needs no such lock: SetCapacity wants sheaves of the old capacity to
// leave, and all that this brings to a stack is compared with the capacity under the stack's lock.
// Close must not count what this has taken from a sheaf and not given back yet; so this counts in
// reclaiming, which Close waits for:
//
//	GiveBack: add to reclaiming; load closed
//	Close:    store closed; wait for reclaiming
//
// Either Close waits for this, or this finds the Set closed and takes nothing.
func (s *Set) GiveBack() (objects int) {
	at := s.reclaiming.enter()
	defer s.reclaiming.leave(at)
	if s.closed.Load() {
		return 0
	}
	s.domain.Advance()
	for i := range s.barns {
		b := &s.barns[i]
		ready := s.reclaimAll(context.Background(), b, b.takeAll) // into the barn, or to the Source
		full := b.takeFull()
		objects += max(ready, int(objectsIn(full.head)))
		s.discardAll(full, list{})
	}
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			if now := c.slots.Snapshot(cpu, percpu.Main); now.Size+now.Spare > 0 {
				objects += c.emptyCPU(cpu)
			}
		}
	})
	return objects
}

// takeFull detaches the full sheaves.
func (b *barn) takeFull() (full list) {
	if b.fulls() == 0 {
		return list{}
	}
	b.mu.Lock()
	full = b.full.takeAll()
	b.unlock()
	return full
}

// emptyCPU gives the Source what a CPU's main and spare hold, and returns how many objects. Main is
// exchanged for an empty sheaf, so that the stack's lock is taken once. Taken from another CPU that
// costs a system call, during which the CPU's operations find the lock held and go to slabs.
// Without an empty sheaf main is emptied in batches. A stack for objects of another node becomes
// unused instead. The caller counts in reclaiming or holds flushing, and so Close doesn't miss the
// objects.
func (c *cpuSheaves) emptyCPU(cpu int) (objects int) {
	var empty *sheaf
	if !c.isRemote && c.slots.Snapshot(cpu, percpu.Main).Size > 0 {
		b, _ := c.barnOf(cpu)
		if empty = b.getEmpty(); empty == nil {
			empty, _ = c.set.newSheaf(c.set.Capacity())
		}
	}
	st := c.slots.LockCPU(cpu, percpu.Main)
	var main, spare *sheaf
	if c.isRemote {
		main, spare = c.uninstall(st)
	} else if empty != nil && st.Size() > 0 && !c.set.staleCapacity(empty) {
		main = detachMain(st)
		install(st, empty, st.Own())
		empty = nil
	}
	if spare == nil {
		spare = sheafOf(st.Spare)
		setSpare(st, nil)
	}
	left := st.Size()
	st.Unlock()
	// Each of them, also if the Source doesn't return.
	callback.Each([]*sheaf{main, spare, empty}, func(sh *sheaf) {
		if sh != nil {
			objects += int(sh.size)
			c.set.discard(sh)
		}
	})
	if left > 0 {
		objects += c.flushMain(cpu, true)
	}
	return objects
}

// idleCPU is what FlushIdle knows of a CPU. Under flushing.
type idleCPU struct {
	operations uint64 // pushes, pops and holds of its main, as of the last call
	calls      uint8  // for how many calls they have not changed
}

// idleCalls is for how many calls of FlushIdle a CPU must not have used its sheaves before it loses
// them.
const idleCalls = 2

// flushIdleCPUs gives back what CPUs hold that have neither allocated, freed nor exchanged objects
// for idleCalls calls: CPUs where the program no longer runs, or that have gone offline. A CPU in
// use is not disturbed; its counts are read without its lock. What gathers for a grace period is
// started by the timer, whether its CPU is in use or not.
func (c *cpuSheaves) flushIdleCPUs() {
	for cpu := range c.slots.CPUs() {
		now, was := c.slots.Snapshot(cpu, percpu.Main), &c.idleCPUs[cpu]
		if operations := now.Pushes + now.Pops + now.Seq; operations != was.operations {
			*was = idleCPU{operations: operations}
			continue
		}
		if was.calls < idleCalls {
			was.calls++
		}
		if was.calls == idleCalls && now.Size+now.Spare > 0 {
			c.emptyCPU(cpu)
		}
	}
}
