package sheaves

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// FreeRCU is what percpu.Free falls back on for rcu_free: there is none yet, or obj
// is the one that fills it. False means that the caller finds obj another way to
// wait (kernel: __kfree_rcu_sheaf).
//
// A stack shows one place less than its sheaf has, so that the object that fills
// the sheaf always comes here and takes it along to the barn.
func (s *Set) FreeRCU(obj unsafe.Pointer, own uint32) bool {
	st, cpu := s.slots.TryLock(percpu.RCU)
	if st != nil && st.Own() == own && st.Sheaf == 0 && !s.adoptEmpty(st, cpu) {
		st.Unlock()
		st, cpu = s.installRCU(cpu, own)
	}
	if st == nil || st.Own() != own {
		if st != nil {
			st.Unlock()
		}
		s.count(RCUFail, 1)
		return false
	}
	if st.PushN([]unsafe.Pointer{obj}) == 1 {
		st.Unlock()
		s.armTimer()
		return true
	}
	sh := detachRCU(st)
	sh.room()[sh.size] = obj
	sh.size++
	st.CountPush(1)
	b := s.submit(sh, cpu, false)
	st.Unlock()
	s.arm(b)
	return true
}

// adoptEmpty makes an empty sheaf of the barn's a locked stack's rcu_free, unless the
// CPU's spare looks empty, which should be taken first.
func (s *Set) adoptEmpty(st *percpu.Stack, cpu int) bool {
	if s.slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		return false
	}
	b, _ := s.barnOf(cpu)
	empty := b.getEmpty()
	if empty == nil {
		return false
	}
	installRCU(st, empty)
	return true
}

func installRCU(st *percpu.Stack, empty *sheaf) {
	st.Install(empty.array(), 0, int(empty.limit)-1, st.Own())
	st.Sheaf = empty.word()
}

// installRCU finds an empty sheaf and makes it the calling CPU's rcu_free, unless
// that CPU has one by now. The stack is returned locked, or nil.
func (s *Set) installRCU(cpu int, own uint32) (*percpu.Stack, int) {
	b, _ := s.barnOf(cpu)
	empty := s.findEmpty(b, cpu)
	if empty == nil {
		return nil, -1
	}
	st, cpu := s.slots.TryLock(percpu.RCU)
	if st != nil && st.Own() == own {
		if st.Sheaf == 0 {
			installRCU(st, empty)
			return st, cpu
		}
		if b.tryPut(empty) {
			return st, cpu
		}
	}
	if st != nil {
		st.Unlock()
	}
	s.stow(empty, b)
	return nil, -1
}

// findEmpty gets an empty sheaf: the CPU's spare if that is empty, else one of the
// barn's, else a new one; nil if there is no memory.
func (s *Set) findEmpty(b *barn, cpu int) (empty *sheaf) {
	if s.slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		empty = s.takeEmptySpare()
	}
	if empty == nil {
		empty = b.getEmpty()
	}
	if empty == nil {
		empty, _ = s.newSheaf()
	}
	return empty
}

func (s *Set) takeEmptySpare() *sheaf {
	st, _ := s.slots.TryLock(percpu.Main)
	if st == nil {
		return nil
	}
	defer st.Unlock()
	spare := sheafOf(st.Spare)
	if spare == nil || spare.size > 0 {
		return nil
	}
	setSpare(st, nil)
	return spare
}

// detachRCU takes rcu_free off its stack, which the caller has locked.
func detachRCU(st *percpu.Stack) *sheaf {
	sh := settle(st)
	st.Install(0, 0, 0, st.Own())
	st.Sheaf = 0
	return sh
}

// submit stamps a sheaf with a grace period that begins now and parks it. The
// caller holds the stack's lock: were it released before, a Barrier could find
// neither the stack's objects nor the barn's (the kernel had that bug until 6.18).
func (s *Set) submit(sh *sheaf, cpu int, noBarn bool) *barn {
	b, node := s.barnOf(cpu)
	sh.node, sh.noBarn = uint16(node), noBarn
	sh.token = s.Domain.Start()
	b.park(sh)
	return b
}

// submitCPU submits a CPU's rcu_free, however full.
func (s *Set) submitCPU(cpu int, noBarn bool) {
	st := s.slots.LockCPU(cpu, percpu.RCU)
	if st.Sheaf == 0 {
		st.Unlock()
		return
	}
	sh := detachRCU(st)
	b := s.submit(sh, cpu, noBarn)
	st.Unlock()
	s.arm(b)
}

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
	again := false
	for cpu := range s.seen {
		now := s.slots.Snapshot(cpu, percpu.RCU)
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
// by the timer, or beyond MaxWaiting by a callback, one at a time.
func (s *Set) arm(b *barn) {
	if b.waits() <= s.MaxWaiting {
		s.armTimer()
	} else if b.armed.CompareAndSwap(false, true) {
		s.Domain.DeferN(s.Capacity, b.reapExcess)
	}
}

// reapExcess is that callback. armed is cleared first, so that a sheaf parked while
// this runs is either reaped here or arms anew.
func (s *Set) reapExcess(b *barn) {
	b.armed.Store(false)
	for b.waits() > s.MaxWaiting && s.reapOne(b) {
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
	s.expire(sh)
	s.house(sh, b)
	return true
}

// reapAll does so for all the sheaves that take takes.
func (s *Set) reapAll(b *barn, take func(*rcu.Domain) *sheaf) {
	if !b.anyWaiting() {
		return
	}
	phase := s.expiring.enter()
	defer s.expiring.leave(phase)
	for sh := take(s.Domain); sh != nil; {
		next := sh.next
		s.expire(sh)
		s.house(sh, b)
		sh = next
	}
}

// trim frees the empty sheaves that exchanges have left beyond the limit, which those
// don't look at.
func (s *Set) trim(b *barn) {
	for b.empties() > s.MaxEmpty {
		empty := b.getEmpty()
		if empty == nil {
			return
		}
		s.freeSheaf(empty)
	}
}

// expire has destructors and free hooks run on the objects of a sheaf whose grace
// period is over. From taking it off the barn until it has a place the caller is
// within s.expiring.
func (s *Set) expire(sh *sheaf) {
	sh.check()
	sh.size = uint32(s.Source.Expire(sh.objects()))
}

// house finds a place for an expired sheaf: in the barn it came from, as far as its
// limits go.
func (s *Set) house(sh *sheaf, b *barn) {
	if sh.size > 0 && !sh.noBarn && b.fulls() < s.MaxFull {
		s.stow(sh, b)
		return
	}
	if sh.size > 0 {
		if !sh.noBarn {
			s.count(BarnPutFail, 1)
		}
		s.flushSheaf(sh)
	}
	if !sh.noBarn && b.empties() < s.MaxEmpty {
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
	s.expire(sh)
	if sh.size == 0 || sh.noBarn {
		s.house(sh, b)
		return nil
	}
	s.count(BarnPut, 1)
	s.count(BarnGet, 1)
	return sh
}

// Barrier submits every CPU's rcu_free, unconditionally, and returns when every
// object accepted by FreeRCU before the call has been through Expire (kernel:
// kvfree_rcu_barrier_on_cache). It must not be called from Expire or a callback of
// the Domain, nor by an online reader.
func (s *Set) Barrier(ctx context.Context) error {
	for cpu := range percpu.NumCPU() {
		s.submitCPU(cpu, true)
	}
	if err := s.Domain.Synchronize(ctx); err != nil {
		return err
	}
	// Once is enough, and others may submit faster than a loop would reap.
	for i := range s.barns {
		s.reapAll(&s.barns[i], s.barns[i].takeAll)
	}
	s.expiring.wait()
	return nil
}

// inFlight lets Barrier wait for those who took a sheaf from a barn and are still
// at it, without making them wait for Barrier. Two counts alternate: newcomers use
// the one that Barrier isn't draining.
type inFlight struct {
	mu     sync.Mutex // one wait at a time
	phase  atomic.Uint32
	active [2]atomic.Int64
}

// enter registers under the current phase. Should wait flip it between the load
// and the add, it may already have seen zero there; hence the second look.
func (f *inFlight) enter() uint32 {
	for {
		phase := f.phase.Load()
		f.active[phase&1].Add(1)
		if f.phase.Load() == phase {
			return phase
		}
		f.active[phase&1].Add(-1)
	}
}

func (f *inFlight) leave(phase uint32) { f.active[phase&1].Add(-1) }

// wait returns when everybody who entered before the call has left.
func (f *inFlight) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.phase.Add(1) - 1
	for f.active[old&1].Load() != 0 {
		runtime.Gosched()
	}
}
