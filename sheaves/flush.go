package sheaves

import (
	"context"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// flushBatch is how many objects leave main under one hold of its lock: few enough
// that the CPU's operations hardly notice (kernel: PCS_BATCH_MAX).
const flushBatch = 32

// flushMain gives as many objects as a CPU's main sheaf holds to the Source and
// returns how many went; what the CPU frees meanwhile doesn't prolong it. Without wait
// it stops as soon as the stack is held by somebody else.
func (s *Set) flushMain(cpu int, wait bool) int {
	var batch [flushBatch]unsafe.Pointer
	flushed, goal := 0, -1
	for flushed != goal {
		st := s.Slots.TryLockCPU(cpu, percpu.Main)
		if st == nil && wait {
			st = s.Slots.LockCPU(cpu, percpu.Main)
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
		st.Unlock()
		if n == 0 {
			break
		}
		s.flush(batch[:n])
		flushed += n
	}
	return flushed
}

func (s *Set) flush(objs []unsafe.Pointer) {
	if len(objs) > 0 {
		s.Source.Flush(objs)
		s.count(Flushed, len(objs))
	}
}

// flushSheaf empties a detached sheaf.
func (s *Set) flushSheaf(sh *sheaf) {
	sh.check()
	s.flush(sh.objects())
	sh.size = 0
}

// FlushCPU gives back what one CPU holds: its spare and main to the Source, its
// rcu_free to the next grace period and then to the Source, not to the barn, which
// the caller is presumably about to empty too (kernel: pcs_flush_all).
func (s *Set) FlushCPU(cpu int) {
	st := s.Slots.LockCPU(cpu, percpu.Main)
	spare := sheafOf(st.Spare)
	setSpare(st, nil)
	st.Unlock()
	if spare != nil {
		s.discard(spare)
	}
	s.submitCPU(cpu, true)
	s.flushMain(cpu, true)
}

// Flush does FlushCPU for every CPU (kernel: flush_all_cpus_locked).
func (s *Set) Flush() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	for cpu := range percpu.NumCPU() {
		s.FlushCPU(cpu)
	}
}

// Shrink flushes every CPU and every barn. Sheaves that wait for a grace period
// stay (kernel: __kmem_cache_do_shrink's first half).
func (s *Set) Shrink() {
	s.Flush()
	s.shrinkBarns()
}

func (s *Set) shrinkBarns() {
	for i := range s.barns {
		s.discardAll(s.barns[i].drain())
	}
}

// FlushIdle gives back the objects of full sheaves that lay in their barn all the time
// since the last call, unless somebody else is flushing. Close waits for it: what it has
// in hand is neither in a sheaf nor in a slab. (The kernel keeps them; its older SLAB had
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
}

// discard gives a detached sheaf up, with what it holds.
func (s *Set) discard(sh *sheaf) {
	s.flushSheaf(sh)
	s.freeSheaf(sh)
}

func (s *Set) discardAll(full, empty list) {
	for _, l := range []*list{&full, &empty} {
		for sh := l.pop(); sh != nil; sh = l.pop() {
			s.discard(sh)
		}
	}
}

// CloseContext takes every sheaf away from the CPUs, waits for those that are under a
// grace period and gives all objects back. Operations that run meanwhile or later
// find closed stacks and report failure to their callers. It blocks for a grace period.
//
// When ctx ends before that is over, the error wraps ctx.Err(): the stacks are closed, what
// waits goes on waiting, and CloseContext is to be called again. So it is after
// rcu.ErrInCallback and rcu.ErrInReader. Once it has returned nil it does nothing any more.
func (s *Set) CloseContext(ctx context.Context) error {
	s.closed.Store(true)
	s.timer.Stop()
	s.Backlog.Leave(s)
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.ticking.Lock() // a tick that is under way may have sheaves in hand
	defer s.ticking.Unlock()
	if s.ended {
		return nil
	}
	for cpu := range percpu.NumCPU() {
		s.closeCPU(cpu)
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	s.shrinkBarns()
	s.pool.close()
	s.ended = true
	return nil
}

// Close is CloseContext without a deadline. Not from a callback of the Domain, nor by an
// online reader.
func (s *Set) Close() { _ = s.CloseContext(context.Background()) }

// Forget gives the counters up after Close: they read 0 from then on.
func (s *Set) Forget() error { return s.counters.Forget() }

// closeCPU leaves zeroed stacks, as which it may find them. The rcu_free sheaf goes in the same hold of the
// lock that closes its stack, lest a FreeRCU install another in between.
func (s *Set) closeCPU(cpu int) {
	st := s.Slots.LockCPU(cpu, percpu.Main)
	main, spare := sheafOf(st.Sheaf), sheafOf(st.Spare)
	if main != nil {
		settle(st)
	}
	st.Install(0, 0, 0, 0)
	st.Sheaf = 0
	setSpare(st, nil)
	st.Unlock()
	for _, sh := range []*sheaf{main, spare} {
		if sh != nil {
			s.discard(sh)
		}
	}
	st = s.Slots.LockCPU(cpu, percpu.RCU)
	if st.Sheaf != 0 {
		s.submit(detachRCU(st), cpu, true)
	}
	st.Install(0, 0, 0, 0)
	st.Unlock()
}
