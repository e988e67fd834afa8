package arena

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/mem"
)

const (
	defaultDecay       = 5 * time.Second
	defaultReleaseRate = 256 << 20
	// pace is how long the timer rests while pages wait for the rate only.
	pace = 50 * time.Millisecond
)

// decay gives idle pages back in the background. The timer runs while there are
// dirty pages, and only then; in between nothing ticks.
type decay struct {
	timer    *time.Timer   // calls Arena.decayed; nil: Config.Decay or Lock forbids it
	tick     time.Duration // Config.Decay / ticks
	rate     float64       // bytes per nanosecond
	released atomic.Uint64 // bytes
	armed    atomic.Bool   // the timer runs, or Arena.decayed does

	// The rest belongs to whoever has set armed, and then to the timer's
	// goroutine until it clears it.
	next   time.Time // when the tick ends
	filled time.Time // when credit was filled up last
	credit float64   // bytes that may be released now; negative after a large run
	turn   int       // index of the zone that is asked next
}

// startDecay prepares the timer. Preconditions: cfg has its defaults.
func (a *Arena) startDecay() {
	if a.cfg.Decay < 0 || a.cfg.Lock {
		return
	}
	d := &a.decay
	d.tick = max(a.cfg.Decay/ticks, time.Millisecond)
	d.rate = float64(a.cfg.ReleaseRate) / float64(time.Second)
	d.timer = time.AfterFunc(time.Hour, a.decayed)
	d.timer.Stop()
}

// stopDecay stops the timer. If it fires just now, or a Free beside Close starts
// it again, it finds nothing dirty once and rests.
func (a *Arena) stopDecay() {
	if a.decay.timer != nil {
		a.decay.timer.Stop()
	}
}

// arm starts the timer after pages became dirty, unless it runs.
//
// It pairs with disarm: here dirty is raised, then armed read; there armed is
// cleared, then dirty read. One of the two sees what the other did.
func (a *Arena) arm() {
	d := &a.decay
	if d.timer == nil || d.armed.Load() || !d.armed.CompareAndSwap(false, true) {
		return
	}
	now := time.Now()
	d.next, d.filled, d.credit = now.Add(d.tick), now, 0
	d.timer.Reset(d.tick)
}

// disarm ends the timer's run, as nothing is dirty. See arm.
func (a *Arena) disarm() {
	a.decay.armed.Store(false)
	if _, dirty := a.ledger.load(); dirty > 0 {
		a.arm()
	}
}

// decayed is what the timer calls.
func (a *Arena) decayed() {
	d := &a.decay
	now := time.Now()
	if !now.Before(d.next) {
		// One tick however late it comes: over the others nobody watched.
		a.tick()
		d.next = now.Add(d.tick)
	}
	d.fill(now)
	starved := a.releaseIdle()
	if _, dirty := a.ledger.load(); dirty == 0 {
		a.disarm()
		return
	}
	rest := d.next.Sub(now)
	if starved {
		rest = min(rest, max(pace, time.Duration(-d.credit/d.rate)))
	}
	d.timer.Reset(rest)
}

// tick ends a tick in all zones.
func (a *Arena) tick() {
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		z.idle.tick(z.free[dirty.area()].pages)
		z.mu.Unlock()
	}
}

// fill adds what the rate allows since the last time, up to one pace's worth.
// Spending may overdraw it by one block.
func (d *decay) fill(now time.Time) {
	d.credit = min(d.credit+d.rate*float64(now.Sub(d.filled)), d.rate*float64(pace))
	d.filled = now
}

// releaseIdle releases idle pages while there is credit, and reports whether
// there are more. Each block takes purging anew, so that an Alloc which needs it
// waits for one system call at most.
func (a *Arena) releaseIdle() (starved bool) {
	d := &a.decay
	for d.credit > 0 {
		n, err := a.discardIdle()
		if err != nil || n == 0 {
			a.trim() // a Free may have failed to get purging meanwhile
			return false
		}
		d.credit -= float64(n)
		d.released.Add(n)
	}
	a.trim()
	return true
}

// discardIdle gives a block of idle pages to the kernel and returns its bytes,
// 0 if there are none.
func (a *Arena) discardIdle() (released uint64, err error) {
	a.purging.Lock()
	defer a.purging.Unlock()
	for range a.zones {
		z := &a.zones[a.decay.turn]
		a.decay.turn = (a.decay.turn + 1) % len(a.zones)
		page, order, ok := a.detach(z, z.detachIdle)
		if !ok {
			continue
		}
		if err := a.vacate(z, page, order); err != nil {
			return 0, err // those pages count as fresh now: not again before Decay
		}
		return mem.PageSize << order, nil
	}
	return 0, nil
}
