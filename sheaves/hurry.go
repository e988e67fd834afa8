package sheaves

import (
	"context"
	"errors"
	"time"

	"github.com/slubd/slubd/internal/percpu"
)

// epoch is what Backlog.since counts from.
var epoch = time.Now()

// The pauses between two looks at the hard limit; they double.
const (
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// wait charges n bytes as soon as the hard limit allows, and reports whether it has. It
// gives up when MaxWait is over, and at once in a callback of the domain, which would keep
// all others waiting.
//
// An online reader of the domain that comes here waits for itself, and can't be told from
// others: a Reader may pass from goroutine to goroutine. So every wait has an end, unless
// the user has asked for none. Without a bound of his it is the time that the limit has
// been in force, so that a goroutine goes beyond it after 0.1 s, 0.2, 0.4, 0.8 and so on:
// ten times in the first two minutes behind a reader that never reports, and ten times more
// in the first day.
func (b *Backlog) wait(n uintptr) bool {
	began := time.Now()
	b.waits.Add(1)
	defer func() { b.waited.Add(int64(time.Since(began))) }()
	over := b.bound(began)
	if !b.mayWait() {
		return false
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		b.hurry()
		if b.TryCharge(n) {
			b.since.Store(0)
			return true
		}
		if over >= 0 && time.Since(began) >= over {
			return false
		}
		time.Sleep(pause)
	}
}

// mayWait asks the domain whether the caller may, by a wait that it gives up at once.
func (b *Backlog) mayWait() bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := b.cfg.Domain.Synchronize(ctx)
	return err == nil || errors.Is(err, context.Canceled)
}

// bound returns how long a wait that begins now may last, less than 0 for no bound.
func (b *Backlog) bound(now time.Time) time.Duration {
	since := int64(now.Sub(epoch))
	if !b.since.CompareAndSwap(0, since) {
		since = b.since.Load()
	}
	switch {
	case b.cfg.MaxWait != 0:
		return b.cfg.MaxWait
	case since == 0: // it has just been lifted
		return MinWait
	}
	return max(MinWait, now.Sub(epoch)-time.Duration(since))
}

// hurry has everything submitted and, when a grace period after that is over, reaped:
// once at a time, so that behind a reader that doesn't report there is one goroutine, and
// the CPUs' stacks are left alone.
func (b *Backlog) hurry() {
	b.asked.Store(true)
	if b.hurrying.CompareAndSwap(false, true) {
		b.hurries.Add(1)
		go b.rush()
	}
}

// rush is that goroutine.
//
// Pairs with hurry, which stores asked, then looks at hurrying. Who finds that set has asked
// before it was cleared: either before asked was, too, and then what he asked for was in its
// place when all was submitted, or answer finds him. hurrying is cleared before anything is
// reaped, since destructors may take long, and one that ends the goroutine would leave it
// set for ever.
func (b *Backlog) rush() {
	b.asked.Store(false)
	b.each(Member.Submit)
	b.synchronize()
	b.hurrying.Store(false)
	defer b.answer() // should a destructor end the goroutine, too
	b.each(Member.Reap)
}

// answer hurries once more what came too late to be submitted.
func (b *Backlog) answer() {
	if b.asked.Load() {
		b.Relieve()
	}
}

// synchronize waits for a grace period: expedited, which costs CPU time, as long as it may
// be a healthy one.
func (b *Backlog) synchronize() {
	ctx, cancel := context.WithTimeout(context.Background(), MinWait)
	defer cancel()
	if b.cfg.Domain.SynchronizeExpedited(ctx) != nil {
		// Without a deadline it only fails in a callback or a reader's goroutine.
		_ = b.cfg.Domain.Synchronize(context.Background())
	}
}

func (b *Backlog) each(do func(Member)) {
	b.mu.Lock()
	defer b.mu.Unlock() // should a destructor end the goroutine, too
	for _, m := range b.members {
		do(m)
	}
}

// Submit implements Member: every CPU's rcu_free, however full.
func (s *Set) Submit() {
	for cpu := range s.seen {
		if s.Slots.Snapshot(cpu, percpu.RCU).Size > 0 {
			s.submitCPU(cpu, false)
		}
	}
}

// Reap implements Member: every sheaf whose grace period is over.
func (s *Set) Reap() {
	for i := range s.barns {
		s.reapAll(&s.barns[i], s.barns[i].takeAll)
	}
}
