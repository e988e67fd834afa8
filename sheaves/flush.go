package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
)

// flushBatch is how many objects leave main under one hold of its lock: few enough that the CPU's
// operations hardly notice (kernel: PCS_BATCH_MAX).
const flushBatch = 32

// flushMain gives the Source as many objects as a CPU's main sheaf holds, and returns how many it
// gave. What the CPU frees meanwhile doesn't make it longer. Without wait it stops as soon as it
// finds the stack's lock held.
func (c *cpuSheaves) flushMain(cpu int, wait bool) int {
	var batch [flushBatch]unsafe.Pointer
	flushed, goal := 0, -1
	for flushed != goal {
		st := c.slots.TryLockCPU(cpu, percpu.Main)
		if st == nil && wait {
			st = c.slots.LockCPU(cpu, percpu.Main)
		}
		if st == nil {
			return flushed
		}
		size := st.Size()
		if goal < 0 {
			goal = size
		}
		n := min(size, flushBatch, goal-flushed)
		copy(batch[:n], st.Objects()[size-n:size])
		if n > 0 {
			st.SetSize(size - n)
		}
		c.unlock(st)
		if n == 0 {
			break
		}
		c.set.flush(batch[:n])
		flushed += n
	}
	return flushed
}

func (s *Set) flush(objs []unsafe.Pointer) {
	if len(objs) > 0 {
		s.count(SheafFlush, len(objs))
		s.source.Flush(objs)
	}
}

// flushSheaf empties a detached sheaf. If the Source doesn't return, the sheaf goes back to the
// pool.
func (s *Set) flushSheaf(sh *sheaf) {
	sh.check()
	objs := sh.objects()
	sh.size = 0
	callback.Guard(func() { s.flush(objs) }, func() { s.freeSheaf(sh) })
}

// flushPortion makes room in a detached sheaf of b's node. What lies on top goes to the Source: it
// was freed last, so its lines are the most likely to be in the CPU's cache. If the Source doesn't
// return, the barn gets the sheaf.
func (s *Set) flushPortion(sh *sheaf, b *barn) {
	sh.check()
	rest := int(sh.size) - portion(sh)
	objs := sh.slots()[rest:sh.size]
	sh.size = uint32(rest)
	callback.Guard(func() { s.flush(objs) }, func() { s.putInBarn(sh, b) })
}

// FlushCPU gives back what one CPU holds: its spare and main to the Source, its rcu_free to the
// next grace period and then to the Source. That doesn't go to the barn, since a caller that
// flushes a CPU is likely to empty the barn too. A CPU is interrupted only for what it holds.
// (Kernel: pcs_flush_all.)
func (s *Set) FlushCPU(cpu int) {
	// As in GiveBack: Close must not miss what is neither in a sheaf nor with the Source.
	at := s.reclaiming.enter()
	defer s.reclaiming.leave(at)
	if !s.closed.Load() {
		s.flushCPU(cpu)
	}
}

// flushCPU is FlushCPU for a caller that counts in reclaiming or holds flushing.
func (s *Set) flushCPU(cpu int) {
	s.all(func(c *cpuSheaves) { c.flush(cpu) })
}

// flush is flushCPU for the objects of one node.
func (c *cpuSheaves) flush(cpu int) {
	now := c.slots.Snapshot(cpu, percpu.Main)
	if now.HasSpare || now.Size > 0 || c.isRemote && !c.unused(cpu, percpu.Main) {
		c.emptyCPU(cpu)
	}
	c.startCPU(cpu, true)
}

// Flush does FlushCPU for every CPU (kernel: flush_all_cpus_locked).
func (s *Set) Flush() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.flushLocked()
}

// flushLocked is Flush for a caller that holds flushing.
func (s *Set) flushLocked() {
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			c.flush(cpu)
		}
	})
}

// Shrink flushes every CPU and every barn. Sheaves that wait for a grace period stay. (Kernel:
// __kmem_cache_do_shrink's first half.)
func (s *Set) Shrink() {
	s.Flush()
	s.shrinkBarns()
}

// TryShrink is Shrink for functions that the Source calls. It leaves the CPUs alone while another
// flush, a SetCapacity or a Close is running, which may have called that function.
func (s *Set) TryShrink() {
	if s.flushing.TryLock() {
		defer s.flushing.Unlock()
		s.flushLocked()
	}
	s.shrinkBarns()
}

func (s *Set) shrinkBarns() {
	for i := range s.barns {
		s.discardAll(s.barns[i].drain())
	}
}

// FlushIdle gives back the objects of full sheaves that were in their barn all the time since the
// last call, and of CPUs that have not used their sheaves since the call before the last. It does
// nothing if another flush is running. Close waits for it: the objects that it
// moves are neither in a sheaf nor in a slab meanwhile. (The kernel keeps them; its older SLAB had
// cache_reap.)
func (s *Set) FlushIdle() {
	if !s.flushing.TryLock() {
		return
	}
	defer s.flushing.Unlock()
	for i := range s.barns {
		if b := &s.barns[i]; b.fulls() > 0 {
			s.discardAll(b.takeIdle(), list{})
		}
	}
	if !s.closed.Load() {
		s.all((*cpuSheaves).flushIdleCPUs)
	}
}

// discard gives a detached sheaf back to the pool, and its objects to the Source.
func (s *Set) discard(sh *sheaf) {
	s.flushSheaf(sh)
	s.freeSheaf(sh)
}

// discardAll discards two lists, even if the Source doesn't return.
func (s *Set) discardAll(full, empty list) {
	defer func() {
		if full.head != nil {
			s.discardAll(full, empty)
		}
	}()
	for sh := empty.pop(); sh != nil; sh = empty.pop() {
		s.discard(sh) // has no objects, so the Source is not called
	}
	for sh := full.pop(); sh != nil; sh = full.pop() {
		s.discard(sh)
	}
}
