package sheaves

import (
	"context"
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
)

// tick is the timer, half of Delay after the last tick. It starts the rcu_free sheaves that were
// there at the last tick already, reclaims the ready ones that no CPU has wanted since, and trims
// the barns. A CPU that fills its sheaves is thus never disturbed: if this took its lock, its
// FreeRCU would be refused meanwhile. When nothing is left the timer rests until armTimer.
func (s *Set) tick() {
	if !s.ticking.TryLock() {
		s.armTimer() // the last tick is still running, in a slow destructor
		return
	}
	defer s.ticking.Unlock()
	again := true // unless this ends otherwise, as it does if a callback ends the goroutine
	defer func() {
		if again {
			s.armTimer()
		}
	}()
	again = s.tickAll()
}

// tickAll is the work of a tick, and reports whether there is any left.
//
// It moves grace periods on only for what this Set has started, and only if they are not over yet.
// One grace period is for all Sets of a domain, and may cost a system call: of the 67 size classes
// of Buckets, whose ticks come one after the other, the first one pays for all. For the same reason
// it does so before it starts sheaves. These are not wanted before the next tick.
func (s *Set) tickAll() (again bool) {
	for i := range s.barns {
		if t := s.barns[i].oldestWaiting(); t != 0 {
			s.domain.Poll(t) // also looks for stalls, now and then, which nothing else may do
		}
	}
	s.all(func(c *cpuSheaves) {
		if c.startStale() {
			again = true
		}
	})
	for i := range s.barns {
		b := &s.barns[i]
		s.reclaimAll(context.Background(), b, b.takeStale)
		s.trim(b)
		again = again || b.anyWaiting()
	}
	return again
}

// startStale starts the rcu_free sheaves that were there at the last tick already, and reports
// whether there are others. The caller holds ticking.
func (c *cpuSheaves) startStale() (others bool) {
	for cpu := range c.slots.CPUs() {
		now := c.slots.Snapshot(cpu, percpu.RCU)
		// A number that tells this sheaf from the next: how many objects had been pushed before its
		// first.
		sheaf := now.Pushes - uint64(now.Size) + 1
		switch {
		case now.Size == 0:
		case sheaf == c.lastTick[cpu]:
			// The tick comes again for what waits, but does nothing about too much of it.
			if b := c.detachAndStart(cpu, false); b != nil && b.waits() > c.set.MaxWaiting() {
				c.set.armFor(b, true)
			}
		default:
			c.lastTick[cpu] = sheaf
			others = true
		}
	}
	return others
}

// armTimer sets the timer, which may wake a thread: not under a stack's lock.
func (s *Set) armTimer() {
	if !s.closed.Load() {
		s.timer.Arm(s.delay / 2)
	}
}

// arm makes sure that b's waiting sheaves are reclaimed even if no CPU wants them: by the timer, or
// beyond MaxWaiting by a callback, one at a time. Like the timer it may make system calls: not
// under a stack's lock.
func (s *Set) arm(b *barn) { s.armFor(b, b.waits() > s.MaxWaiting()) }

// armFor is arm for a caller that knows whether more wait than MaxWaiting.
func (s *Set) armFor(b *barn, excess bool) {
	s.domain.Advance()
	if !excess {
		s.armTimer()
	} else if b.armed.CompareAndSwap(false, true) {
		s.domain.DeferN(s.Capacity(), b.reclaimExcess)
	}
	runtime.KeepAlive(b)
}

// trim frees the empty sheaves that exchanges, which ignore the limit, have left in b beyond it.
func (s *Set) trim(b *barn) {
	for b.empties() > s.MaxEmpty() {
		empty := b.getEmpty()
		if empty == nil {
			return
		}
		s.freeSheaf(empty)
	}
}
