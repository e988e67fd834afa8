package sheaves

import (
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// tick is the timer, half of Delay after the last one: it submits the rcu_free
// sheaves that were there the last time already, reaps the waiting ones that nobody
// has wanted since the last time, and trims the barns. A CPU that fills its sheaves is
// thus never disturbed: taking its lock from here would turn its FreeRCU away
// meanwhile. When nothing is left the timer stops, until armTimer. timerArmed is
// cleared first, so that what comes while this runs is either seen here or sets the
// timer anew.
func (s *Set) tick() {
	s.timerArmed.Store(false)
	if !s.ticking.TryLock() {
		s.armTimer() // the last one is still at it, in a slow destructor
		return
	}
	defer s.ticking.Unlock()
	s.Domain.Advance()
	again := false
	for cpu := range s.seen {
		now := s.Slots.Snapshot(cpu, percpu.RCU)
		// What tells a sheaf from the next: how many objects had left before its first.
		sheaf := now.Pushes - uint64(now.Size) + 1
		switch {
		case now.Size == 0:
		case sheaf == s.seen[cpu]:
			s.submitCPU(cpu, false)
		default:
			s.seen[cpu] = sheaf
			again = true
		}
	}
	for i := range s.barns {
		b := &s.barns[i]
		s.reapAll(b, b.takeStale)
		s.trim(b)
		again = again || b.anyWaiting()
	}
	if again {
		s.armTimer()
	}
}

// armTimer sets the timer, which may wake a thread: not under a stack's lock.
func (s *Set) armTimer() {
	if !s.closed.Load() && s.timerArmed.CompareAndSwap(false, true) {
		s.timer.Reset(s.Delay / 2)
	}
}

// arm makes sure that b's waiting sheaves are reaped although nobody may want them:
// by the timer, or beyond MaxWaiting by a callback, one at a time. Like the timer it may
// make system calls: not under a stack's lock.
func (s *Set) arm(b *barn) {
	s.Domain.Advance()
	if b.waits() <= s.MaxWaiting() {
		s.armTimer()
	} else if b.armed.CompareAndSwap(false, true) {
		s.Domain.DeferN(s.Capacity(), b.reapExcess)
	}
}

// reapExcess is the callback that reaps what waits in b beyond MaxWaiting. armed is cleared first, so that a sheaf parked while
// this runs is either reaped here or arms anew.
func (s *Set) reapExcess(b *barn) {
	b.armed.Store(false)
	for b.waits() > s.MaxWaiting() && s.reapOne(b) {
	}
	if b.anyWaiting() {
		s.arm(b)
	}
}

// reapOne ends a waiting sheaf's grace period if one's is over, and reports whether
// it did (kernel: rcu_free_sheaf).
func (s *Set) reapOne(b *barn) bool {
	phase := s.expiring.enter()
	defer s.expiring.leave(phase)
	sh := b.takeReady(s.Domain)
	if sh == nil {
		return false
	}
	s.expire(sh, b)
	s.house(sh, b)
	return true
}

// reapAll ends the grace periods of all the sheaves that take returns, which are over.
func (s *Set) reapAll(b *barn, take func(*rcu.Domain) *sheaf) {
	if !b.anyWaiting() {
		return
	}
	phase := s.expiring.enter()
	s.reapChain(take(s.Domain), b, phase)
}

// reapChain expires and houses the sheaves linked by next, within s.expiring until the last
// one is done.
// If a destructor ends the goroutine another one goes on with the next.
func (s *Set) reapChain(next *sheaf, b *barn, phase uint32) {
	defer func() {
		if next != nil {
			go s.reapChain(next, b, phase)
			return
		}
		s.expiring.leave(phase)
	}()
	for next != nil {
		sh := next
		next = sh.next
		s.expire(sh, b)
		s.house(sh, b)
	}
}

// trim frees the empty sheaves that exchanges have left beyond the limit, which those
// don't look at.
func (s *Set) trim(b *barn) {
	for b.empties() > s.MaxEmpty() {
		empty := b.getEmpty()
		if empty == nil {
			return
		}
		s.freeSheaf(empty)
	}
}

// expire has destructors and free hooks run on the objects of a sheaf of b's whose grace
// period is over. From taking it off the barn until it has a place the caller is
// within s.expiring. If a destructor ends the goroutine, the objects are the Source's, and
// the sheaf gets its place here.
func (s *Set) expire(sh *sheaf, b *barn) {
	sh.check()
	s.discharge(sh, 0)
	objs, ended := sh.objects(), false
	sh.size = 0
	defer func() {
		if !ended {
			s.house(sh, b)
			s.arm(b) // whoever was at it has not finished
		}
	}()
	sh.size = uint32(s.Source.Expire(objs))
	ended = true
}

// house finds a place for an expired sheaf: in the barn it came from, as far as its
// limits go.
func (s *Set) house(sh *sheaf, b *barn) {
	if sh.size > 0 && !sh.noBarn && b.fulls() < s.MaxFull() {
		s.stow(sh, b)
		return
	}
	if sh.size > 0 {
		if !sh.noBarn {
			s.count(BarnPutFail, 1)
		}
		s.flushSheaf(sh)
	}
	if !sh.noBarn && b.empties() < s.MaxEmpty() {
		s.stow(sh, b)
	} else {
		s.freeSheaf(sh)
	}
}

// expired takes and expires a sheaf for a CPU that wants objects at once. The sheaf
// counts as if it had gone through the barn.
func (s *Set) expired(b *barn) *sheaf {
	if !b.anyWaiting() {
		return nil
	}
	phase := s.expiring.enter()
	defer s.expiring.leave(phase)
	sh := b.takeReady(s.Domain)
	if sh == nil {
		return nil
	}
	s.expire(sh, b)
	if sh.size == 0 || sh.noBarn {
		s.house(sh, b)
		return nil
	}
	s.count(BarnPut, 1)
	s.count(BarnGet, 1)
	return sh
}
