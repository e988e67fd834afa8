package sheaves

import (
	"context"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/percpu"
)

// CloseContext takes every sheaf away from the CPUs, waits for the grace periods of those that have
// one, and gives all objects back. Operations that run meanwhile or later find closed stacks: Alloc
// returns ErrClosed, and what the others can't put in a sheaf they give to the Source or leave with
// the caller. It blocks for a grace period. It must not be called from the Source, from a callback
// of the Domain, nor by an online reader.
//
// When ctx ends before the grace period is over, or while another goroutine is in a slow
// destructor, the error wraps ctx.Err(): what waits goes on waiting, and CloseContext is to be
// called again. The same holds for rcu.ErrInCallback and rcu.ErrInReader, and if a destructor
// doesn't return. After it has returned nil it does nothing any more.
//
// Stacks that New made are then free, and Stats reads zeros.
func (s *Set) CloseContext(ctx context.Context) error {
	s.closed.Store(true) // before the barns are emptied; see putInBarn
	s.timer.Stop()
	if err := s.backlog.Remove(ctx, s); err != nil {
		return err
	}
	if err := lock.Context(ctx, &s.flushing); err != nil {
		return err
	}
	defer s.flushing.Unlock()
	// A tick that is running may hold sheaves, and be in a slow destructor.
	if err := lock.Context(ctx, &s.ticking); err != nil {
		return err
	}
	defer s.ticking.Unlock()
	if s.ended {
		return nil
	}
	// What is making the sheaves of a rank ends before this, or finds the Set closed.
	if err := lock.Context(ctx, &s.making); err != nil {
		return err
	}
	s.making.Unlock()
	s.all((*cpuSheaves).closeStacks)
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	s.shrinkBarns()
	s.pool.close()
	s.ended = true
	if s.ownSlots {
		s.freeCells()
	}
	return nil
}

// Close is CloseContext without a deadline.
func (s *Set) Close() { _ = s.CloseContext(context.Background()) }

// FreeCounters frees the counters of a Set that is closed: Stats reads zeros from then on. A caller
// with Config.Slots calls it, since the stacks for objects of other nodes are freed with them.
func (s *Set) FreeCounters() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if s.discarded {
		return nil
	}
	return s.freeCounters()
}

// closeStacks zeroes the stacks of all CPUs that have used them. They may be zero already, if ctx
// ended an earlier CloseContext. A CPU that comes later finds the Set closed; see first.go. The
// rcu_free sheaf is taken in the same hold of the lock that closes its stack: otherwise a FreeRCU
// could install another one in between.
func (c *cpuSheaves) closeStacks() {
	var detached list
	for _, st := range c.slots.LockAll() {
		if st.Kind == percpu.Main {
			for _, sh := range pair(c.uninstall(st.Stack)) {
				if sh != nil {
					detached.push(sh)
				}
			}
		} else {
			if st.Sheaf != 0 {
				c.start(detachRCU(st.Stack), st.CPU, true)
			}
			st.Install(0, 0, 0, 0)
		}
		st.Unlock()
	}
	c.set.discardAll(detached, list{})
}

func pair(a, b *sheaf) [2]*sheaf { return [2]*sheaf{a, b} }
