package rcu

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/slubd/slubd/internal/mistakes"
)

// ErrInCallback is returned by what would wait for callbacks or readers when
// a callback of the same domain calls it: Barrier would wait for itself, and
// the others would keep all other callbacks waiting.
var ErrInCallback = errors.New("rcu: called from a callback of the same domain")

const (
	// spins is how often a waiter looks before it sleeps, yielding in between:
	// some 30 us on an otherwise idle machine. Most readers report within that,
	// and the shortest sleep of an idle Go process lasts a millisecond.
	spins = 400
	// firstPause and longestPause bound the time between two looks after
	// that. It doubles each time, so a waiter is late by no more than it has
	// waited, nor by more than longestPause, which costs a waiter behind a
	// stuck reader 250 looks a second: well under a thousandth of a CPU.
	firstPause   = 50 * time.Microsecond
	longestPause = 4 * time.Millisecond
)

// Wait sleeps until t's grace period is over. Waiters of the same or earlier
// grace periods profit from each other's looks. It returns nil, or an error
// that wraps ctx.Err() and names the reader that is in the way, or
// ErrInCallback. Any goroutine except an online reader of the domain, which
// would wait for itself.
func (d *Domain) Wait(ctx context.Context, t Token) error {
	if d.Poll(t) {
		return nil
	}
	if d.inCallback() {
		return ErrInCallback
	}
	return d.await(ctx, t)
}

// Synchronize waits until every reader that is online now has reported or
// gone offline once: Wait(ctx, Start()). It does not wait for callbacks; that
// is Barrier's. Errors and callers as for Wait.
func (d *Domain) Synchronize(ctx context.Context) error {
	if d.inCallback() {
		return ErrInCallback
	}
	return d.Wait(ctx, d.Start())
}

// await polls t: first in a short spin, then in growing intervals. Readers
// wake nobody, which keeps their side down to a store.
func (d *Domain) await(ctx context.Context, t Token) error {
	if mistakes.WaitSkipped {
		return nil
	}
	for range spins {
		if d.Poll(t) {
			return nil
		}
		runtime.Gosched()
	}
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		d.survey() // note now since when the reader is in the way, for Stats
		select {
		case <-ctx.Done():
			return d.gaveUp(ctx)
		case <-timer.C:
		}
		if d.Poll(t) {
			return nil
		}
		pause = min(2*pause, longestPause)
		timer.Reset(pause)
	}
}

// gaveUp is the error of a waiter whose context has ended.
func (d *Domain) gaveUp(ctx context.Context) error {
	if r, age := d.survey(); r != nil {
		return fmt.Errorf("rcu: reader %q has held up the grace period for %v: %w", r.name, age, ctx.Err())
	}
	return fmt.Errorf("rcu: gave up waiting: %w", ctx.Err())
}
