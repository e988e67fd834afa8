package rcu

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/text"
)

// ErrInCallback is returned by calls that would wait for callbacks or readers when a callback of
// the same domain makes them: Barrier would wait for itself, and the others would keep all other
// callbacks waiting. Package slub returns it for the same reason in the callbacks of its caches.
var ErrInCallback = errors.New("rcu: called from a callback, which would wait for itself or keep others waiting")

// ErrInReader is returned, in builds with -tags invariants or -race, by calls that wait for readers
// when a reader makes them. In other builds such a call waits until its context ends; the report of
// the stall then shows why.
var ErrInReader = errors.New("rcu: called by a reader of the same domain, which would wait for itself")

const (
	// spins is how often a waiter looks before it sleeps, yielding in between: some 30 us on an
	// otherwise idle machine. Most readers report within that time, and the shortest sleep of an
	// idle Go process lasts a millisecond.
	spins = 400
	// eagerSpins is the same for a waiter that readers yield to: some 30 ms.
	eagerSpins = 100_000
	// spinsPerCheck is how often a waiter looks for the end per look at its context, which may take
	// a lock.
	spinsPerCheck = 64
	// firstPause and longestPause bound the time between two looks after the spin. The pause
	// doubles each time, so a waiter is late by no more than it has waited, and by no more than
	// longestPause. A waiter behind a stuck reader then looks 250 times a second, for well under a
	// thousandth of a CPU. An expedited waiter stays at firstPause.
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// Wait sleeps until t's grace period is over (kernel: cond_synchronize_rcu). Waiters for the same
// or earlier grace periods profit from each other's looks. It returns nil, ErrInCallback,
// ErrInReader, or an error that wraps ctx.Err() and names the reader in the way. Any goroutine may
// call it except an online reader of the domain, or one between Enter and Exit, which would wait
// for itself.
func (d *Domain) Wait(ctx context.Context, t Token) error {
	if d.step(t) {
		return nil
	}
	if err := d.mayWait("Wait"); err != nil {
		return err
	}
	return d.await(ctx, t, d.readersFillCPUs())
}

// Synchronize waits until every reader that is online now has reported or gone offline once, and
// every section that is open now has ended (kernel: synchronize_rcu). It is Wait(ctx, Start()). It
// does not wait for callbacks; Barrier does. Errors and callers as for Wait.
func (d *Domain) Synchronize(ctx context.Context) error {
	if err := d.mayWait("Synchronize"); err != nil {
		return err
	}
	t := d.Start()
	if d.step(t) {
		return nil
	}
	return d.await(ctx, t, d.readersFillCPUs())
}

// SynchronizeExpedited is Synchronize with Expedite (kernel: synchronize_rcu_expedited).
func (d *Domain) SynchronizeExpedited(ctx context.Context) error {
	if err := d.mayWait("SynchronizeExpedited"); err != nil {
		return err
	}
	t := d.Start()
	if d.step(t) {
		return nil
	}
	d.Expedite(t)
	return d.await(ctx, t, true)
}

// Expedite makes t's grace period and all earlier ones end sooner. Their waiters, callbacks
// included, look again and again instead of sleeping in between, and readers yield the processor
// when they report. That costs CPU time in every waiter. Expedite does not block, but takes
// Domain.mu and wakes goroutines. Any goroutine may call it.
func (d *Domain) Expedite(t Token) {
	if d.PollNoAdvance(t) || !d.expedited.raise(t) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expedites++
	if d.wake != nil {
		close(d.wake)
		d.wake = nil
	}
}

// wakeChannel returns a channel that the next Expedite closes, for a waiter that is about to sleep.
func (d *Domain) wakeChannel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wake == nil {
		d.wake = make(chan struct{})
	}
	return d.wake
}

// doneSleeping ends a waiter's sleep. The last one drops the channel, so that an idle domain keeps
// none.
func (d *Domain) doneSleeping() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sleepers--; d.sleepers == 0 {
		d.wake = nil
	}
}

// mayWait returns an error if the caller must not wait for readers.
func (d *Domain) mayWait(method string) error {
	if d.inCallback() {
		return ErrInCallback
	}
	if invariants.Enabled {
		return d.selfWait(method)
	}
	return nil
}

// readersFillCPUs reports whether online readers may take up all processors that Go uses. Another
// goroutine then gets one only when a reader yields, or after 10 ms, when the runtime takes one
// from a reader.
func (d *Domain) readersFillCPUs() bool {
	online := 0
	for _, r := range d.list() {
		if r.seen() != offline {
			online++
		}
	}
	return online > 0 && online >= runtime.GOMAXPROCS(0)
}

// await looks for the end of t: first in a short spin, then in growing intervals. Readers wake no
// waiter, which keeps their side down to a store. With needCPU they are asked to yield.
func (d *Domain) await(ctx context.Context, t Token, needCPU bool) error {
	if ctx.Err() != nil {
		return d.waitError(ctx)
	}
	n := spins
	if needCPU {
		n = eagerSpins
		d.waitersNeedCPU.Add(1)
		defer d.waitersNeedCPU.Add(-1)
	}
	if d.spin(ctx, t, n) {
		return nil
	}
	d.mu.Lock()
	d.sleepers++
	d.mu.Unlock()
	defer d.doneSleeping()
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for eager := false; ; {
		// The channel first: an Expedite that the load of expedited misses closes it.
		wake := d.wakeChannel()
		if !eager && reached(d.expedited.load(), t) {
			eager = true
			d.waitersNeedCPU.Add(1)
			defer d.waitersNeedCPU.Add(-1)
			if d.spin(ctx, t, eagerSpins) {
				return nil
			}
			pause = firstPause
			timer.Reset(pause)
		}
		b := d.scanStalls(true) // notes since when a reader is in the way, for Stats
		if invariants.Enabled {
			if err := b.selfWait(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return d.waitError(ctx)
		case <-wake:
			continue
		case <-timer.C:
		}
		if d.step(t) {
			return nil
		}
		if !eager {
			pause = min(2*pause, longestPause)
		}
		timer.Reset(pause)
	}
}

// spin looks n times, or until ctx ends, yielding in between. While a waiter needs a reader's
// processor, each round advances the sequence: every reader then yields again at its next
// Quiescent, even one that has already reported.
func (d *Domain) spin(ctx context.Context, t Token, n int) bool {
	for i := range n {
		if d.step(t) {
			return true
		}
		if i%spinsPerCheck == spinsPerCheck-1 && ctx.Err() != nil {
			return false
		}
		if d.waitersNeedCPU.Load() > 0 {
			d.seq.next()
		}
		runtime.Gosched()
	}
	return false
}

// waitError is the error of a waiter whose context has ended.
func (d *Domain) waitError(ctx context.Context) error {
	switch b := d.scanStalls(true); {
	case b.reader != nil:
		return fmt.Errorf("rcu: reader %q has held up the grace period for %v: %w", b.reader.name, text.Round(b.age), ctx.Err())
	case b.open > 0:
		return fmt.Errorf("rcu: the grace period has waited for %v for %s: %w", text.Round(b.age), openSections(b.open), ctx.Err())
	default:
		return fmt.Errorf("rcu: gave up waiting: %w", ctx.Err())
	}
}
