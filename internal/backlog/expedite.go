package backlog

import (
	"context"
	"errors"
	"time"
)

// MinWait is the least time that a wait at the hard limit may take with Growing: many healthy grace
// periods, yet no longer than a client will wait for an answer.
const MinWait = 100 * time.Millisecond

// epoch is what limit.blocked counts from.
var epoch = time.Now()

// The pauses between two looks at the hard limit; they double.
const (
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// wait charges n bytes as soon as the hard limit allows, and reports whether it has. It gives up
// when its bound is over, and at once in a callback of the domain, which would keep all other
// callbacks waiting.
//
// An online reader of the domain that calls this waits for itself, and can't be told from other
// goroutines: a Reader may pass from goroutine to goroutine. So every wait has an end, unless
// the user has asked for none.
//
// Once a wait of MaxWait has run out, the limit is behind a reader that will not report soon, and
// waits buy nothing: no call waits again until there is room.
//
// With Growing the bound is the time that the limit has been blocking, so that a goroutine exceeds
// the limit after 0.1 s, 0.2, 0.4, 0.8 and so on: ten times in the first two minutes behind a
// reader that never reports, and ten more times in the first day.
func (b *Backlog) wait(n int64, w Wait) bool {
	began := time.Now()
	since := b.limit.block(began)
	most := b.bound(began, since)
	if w.ctx != nil {
		most = Unlimited
	} else if most == 0 {
		return false
	}
	b.waits.Add(1)
	defer func() { b.waited.Add(int64(time.Since(began))) }()
	if !b.mayWait() {
		return false
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		b.expediteAll()
		if b.TryCharge(n) {
			b.limit.blocked.Store(0)
			return true
		}
		if time.Since(began) >= most {
			if b.cfg.MaxWait != Growing {
				b.limit.spent.Store(since)
			}
			return false
		}
		if !w.sleep(pause) {
			return false
		}
	}
}

// sleep sleeps, and reports whether the wait may go on.
func (w Wait) sleep(pause time.Duration) bool {
	if w.ctx == nil {
		time.Sleep(pause)
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// mayWait asks the domain whether the caller may wait, by a wait that it cancels at once.
func (b *Backlog) mayWait() bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := b.cfg.Domain.Synchronize(ctx)
	return err == nil || errors.Is(err, context.Canceled)
}

// bound returns how long a wait may last that begins now, where the limit has been blocking since
// then; 0: not at all.
func (b *Backlog) bound(now time.Time, since int64) time.Duration {
	switch most := b.cfg.MaxWait; {
	case most == Unlimited:
		return Unlimited
	case most == Growing:
		return max(MinWait, now.Sub(epoch)-time.Duration(since))
	case most == None || b.limit.spent.Load() == since:
		return 0
	case most == 0:
		return DefaultMaxWait
	default:
		return most
	}
}

// expediteAll starts a round of all Backlogs whose bytes may be in the way.
func (b *Backlog) expediteAll() {
	b.expedite()
	if b.pooled() {
		b.cfg.Pool.expedite()
	}
}

// expedite starts a round: all queues start their grace periods, one is waited for in a hurry,
// and what is ready is reclaimed. There is one round at a time, so that behind a reader that
// doesn't report there is one goroutine, and the CPUs' stacks are left alone.
func (b *Backlog) expedite() {
	b.again.Store(true)
	if b.expediting.CompareAndSwap(false, true) {
		b.expedited.Add(1)
		go b.expediteWorker()
	}
}

// expediteWorker is the goroutine of one round.
//
// No request is lost. expedite sets again, then tests expediting; expediteWorker clears again,
// has all grace periods started, clears expediting, reclaims, and then tests again. A caller that
// found expediting set had set again either before the worker cleared it, and then this round
// covers what the caller had put in its queue, or after, and then the test starts another round.
//
// expediting is cleared before anything is reclaimed: destructors may take long, and one that
// ends the goroutine would leave it set for ever.
func (b *Backlog) expediteWorker() {
	b.again.Store(false)
	b.each(Queue.StartAll)
	b.synchronize()
	b.expediting.Store(false)
	defer b.expediteAgain() // even if a destructor ends the goroutine
	b.each(Queue.ReclaimReady)
}

// expediteAgain starts another round if one was requested too late for the last one.
func (b *Backlog) expediteAgain() {
	if b.again.Load() {
		b.CheckSoftLimit()
	}
}

// synchronize waits for a grace period: expedited, which costs CPU time, for as long as a
// healthy one may take, and then without haste.
func (b *Backlog) synchronize() {
	ctx, cancel := context.WithTimeout(context.Background(), MinWait)
	defer cancel()
	if b.cfg.Domain.SynchronizeExpedited(ctx) != nil {
		// Without a deadline this fails only in a callback or a reader's goroutine.
		_ = b.cfg.Domain.Synchronize(context.Background())
	}
}

func (b *Backlog) each(do func(Queue)) {
	b.mu.Lock()
	defer b.mu.Unlock() // even if a destructor ends the goroutine
	for _, q := range b.queues {
		do(q)
	}
}
