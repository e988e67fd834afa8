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

// ErrInCallback is returned by what would wait for callbacks or readers when
// a callback of the same domain calls it: Barrier would wait for itself, and
// the others would keep all other callbacks waiting.
var ErrInCallback = errors.New("rcu: called from a callback of the same domain")

// ErrInReader is returned, in builds with -tags invariants or -race, by what waits for
// readers when one of them calls it. In other builds it waits until its context ends,
// which the report of the stall explains.
var ErrInReader = errors.New("rcu: called by a reader of the same domain, which would wait for itself")

const (
	// spins is how often a waiter looks before it sleeps, yielding in between:
	// some 30 us on an otherwise idle machine. Most readers report within that,
	// and the shortest sleep of an idle Go process lasts a millisecond.
	spins = 400
	// eagerSpins is that of one that readers yield to: some 30 ms.
	eagerSpins = 100_000
	// spinsPerCheck is how often it looks between two looks at its context, which may
	// take a lock.
	spinsPerCheck = 64
	// firstPause and longestPause bound the time between two looks after
	// that. It doubles each time, so a waiter is late by no more than it has
	// waited, nor by more than longestPause, which costs a waiter behind a
	// stuck reader 250 looks a second: well under a thousandth of a CPU. An
	// expedited one stays at firstPause.
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// Wait sleeps until t's grace period is over. Waiters of the same or earlier
// grace periods profit from each other's looks. It returns nil, or an error
// that wraps ctx.Err() and names the reader that is in the way, or
// ErrInCallback or ErrInReader. Any goroutine except an online reader of the domain, or
// one between Enter and Exit, which would wait for itself.
func (d *Domain) Wait(ctx context.Context, t Token) error {
	if d.step(t) {
		return nil
	}
	if err := d.mayWait("Wait"); err != nil {
		return err
	}
	return d.await(ctx, t, d.crowded())
}

// Synchronize waits until every reader that is online now has reported or
// gone offline once, and every section that is open now has ended: Wait(ctx, Start()). It
// does not wait for callbacks; that is Barrier's. Errors and callers as for Wait.
func (d *Domain) Synchronize(ctx context.Context) error {
	if err := d.mayWait("Synchronize"); err != nil {
		return err
	}
	t := d.Start()
	if d.step(t) {
		return nil
	}
	return d.await(ctx, t, d.crowded())
}

// SynchronizeExpedited is Synchronize in a hurry: see Expedite.
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

// Expedite hurries t's grace period and all earlier ones: who waits for them, callbacks
// included, looks again and again instead of sleeping in between, and readers yield the
// processor when they report. That costs CPU time of every waiter. It does not block, but
// takes Domain.mu and wakes goroutines. Any goroutine.
func (d *Domain) Expedite(t Token) {
	if d.Elapsed(t) || !d.expedited.raise(t) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hurried++
	if d.hurry != nil {
		close(d.hurry)
		d.hurry = nil
	}
}

// hurryUp returns a channel that the next Expedite closes, for one that is about to sleep.
func (d *Domain) hurryUp() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hurry == nil {
		d.hurry = make(chan struct{})
	}
	return d.hurry
}

// awake takes back the channel when the last sleeper leaves, so that an idle domain
// keeps nothing of theirs.
func (d *Domain) awake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sleepers--; d.sleepers == 0 {
		d.hurry = nil
	}
}

// mayWait returns why the caller must not wait for readers, if it must not.
func (d *Domain) mayWait(method string) error {
	if d.inCallback() {
		return ErrInCallback
	}
	if invariants.Enabled {
		return d.selfWait(method)
	}
	return nil
}

// crowded reports whether online readers may well take up all processors that Go uses.
// A goroutine that wants one then waits for the runtime to take one from a reader, after
// 10 ms, unless a reader yields.
func (d *Domain) crowded() bool {
	online := 0
	for _, r := range d.list() {
		if r.seen() != offline {
			online++
		}
	}
	return online > 0 && online >= runtime.GOMAXPROCS(0)
}

// await looks for the end of t: first in a short spin, then in growing intervals. Readers
// wake nobody, which keeps their side down to a store; with ask they are asked to
// yield.
func (d *Domain) await(ctx context.Context, t Token, ask bool) error {
	if ctx.Err() != nil {
		return d.gaveUp(ctx)
	}
	n := spins
	if ask {
		n = eagerSpins
		d.starved.Add(1)
		defer d.starved.Add(-1)
	}
	if d.spin(ctx, t, n) {
		return nil
	}
	d.mu.Lock()
	d.sleepers++
	d.mu.Unlock()
	defer d.awake()
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for eager := false; ; {
		// The channel first: an Expedite that the look at expedited misses closes it.
		hurry := d.hurryUp()
		if !eager && reached(d.expedited.load(), t) {
			eager = true
			d.starved.Add(1)
			defer d.starved.Add(-1)
			if d.spin(ctx, t, eagerSpins) {
				return nil
			}
			pause = firstPause
			timer.Reset(pause)
		}
		held := d.survey() // note now since when the reader is in the way, for Stats
		if invariants.Enabled {
			if err := held.selfWait(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return d.gaveUp(ctx)
		case <-hurry:
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

// spin looks n times, or until ctx ends, yielding in between. While somebody is starved,
// a reader that gets this one's processor must give it back, even if it has reported
// already and another is late: hence it is asked again, by the next sequence number.
func (d *Domain) spin(ctx context.Context, t Token, n int) bool {
	for i := range n {
		if d.step(t) {
			return true
		}
		if i%spinsPerCheck == spinsPerCheck-1 && ctx.Err() != nil {
			return false
		}
		if d.starved.Load() > 0 {
			d.seq.next()
		}
		runtime.Gosched()
	}
	return false
}

// gaveUp is the error of a waiter whose context has ended.
func (d *Domain) gaveUp(ctx context.Context) error {
	switch h := d.survey(); {
	case h.reader != nil:
		return fmt.Errorf("rcu: reader %q has held up the grace period for %v: %w", h.reader.name, text.Round(h.age), ctx.Err())
	case h.open > 0:
		return fmt.Errorf("rcu: the grace period has waited for %v for %s: %w", text.Round(h.age), openSections(h.open), ctx.Err())
	default:
		return fmt.Errorf("rcu: gave up waiting: %w", ctx.Err())
	}
}
