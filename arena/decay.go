package arena

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/internal/mem"
)

const (
	defaultDecay       = 5 * time.Second
	defaultReleaseRate = 256 << 20
	// pace is how long the timer rests when idle pages are left because of the rate.
	pace = 50 * time.Millisecond
)

// decay gives idle pages back in the background. Its timer runs only while there are dirty pages.
type decay struct {
	timer    lazytimer.Timer // exclusive; calls Arena.decayed
	tick     time.Duration   // Config.Decay / ticks; 0: Config.Decay or Lock forbids the timer
	rate     float64         // bytes per nanosecond
	released atomic.Int64    // bytes

	// Only Arena.decayed uses the fields below.
	next   time.Time // when the tick ends; zero until the first run after arm
	filled time.Time // when fill last changed credit
	credit float64   // bytes that may be released now; negative after a large run
	turn   int       // index of the zone that discardIdle asks next; after the last one, mappings
}

// startDecay prepares the timer. Preconditions: cfg has its defaults.
func (a *Arena) startDecay() {
	if a.cfg.Decay < 0 || a.cfg.Lock {
		return
	}
	d := &a.decay
	d.tick = max(a.cfg.Decay/ticks, time.Millisecond)
	d.rate = float64(a.cfg.ReleaseRate) / float64(time.Second)
	d.timer.InitExclusive(a.decayed, a.anyDirty, d.tick)
}

// stopDecay stops the timer. If it fires just now, or a Free that races with Close arms it again,
// it runs once more, finds nothing dirty and is not armed again.
func (a *Arena) stopDecay() {
	if a.decay.tick > 0 {
		a.decay.timer.Stop()
	}
}

// arm lets the timer run, after pages became dirty.
func (a *Arena) arm() {
	if a.decay.tick > 0 {
		a.decay.timer.Arm(a.decay.tick)
	}
}

func (a *Arena) anyDirty() bool {
	_, dirty := a.ledger.load()
	return dirty > 0
}

// decayed is the timer's function. It returns the time until the timer's next run, 0 for none if no
// page is dirty.
func (a *Arena) decayed() (rest time.Duration) {
	d := &a.decay
	now := time.Now()
	if d.next.IsZero() { // armed a tick ago
		d.next, d.filled, d.credit = now, now.Add(-d.tick), 0
	}
	if !now.Before(d.next) {
		// One tick, however late: nothing was observed during ticks that were missed.
		a.tick()
		d.next = now.Add(d.tick)
	}
	d.fill(now)
	starved := a.releaseIdle()
	if !a.anyDirty() {
		d.next = time.Time{}
		return 0
	}
	rest = d.next.Sub(now)
	if starved {
		rest = min(rest, max(pace, time.Duration(-d.credit/d.rate)))
	}
	return rest
}

// tick ends a tick in all zones, and of the kept mappings.
func (a *Arena) tick() {
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		z.idle.tick(z.free[dirty.area()].pages)
		z.mu.Unlock()
	}
	a.big.tick()
}

// fill adds to credit what the rate allows for the time since the last call, up to the credit of
// one pace. Releasing a block may overdraw it.
func (d *decay) fill(now time.Time) {
	d.credit = min(d.credit+d.rate*float64(now.Sub(d.filled)), d.rate*float64(pace))
	d.filled = now
}

// releaseIdle releases idle pages while there is credit, and reports whether there may be more. It
// locks purging for each block separately, so that an Alloc which needs purging waits for one
// system call at most.
func (a *Arena) releaseIdle() (starved bool) {
	d := &a.decay
	for d.credit > 0 {
		n, err := a.discardIdle()
		if err != nil || n == 0 {
			a.trim() // a Free may have failed to lock purging meanwhile
			return false
		}
		d.credit -= float64(n)
		d.released.Add(n)
	}
	a.trim()
	return true
}

// discardIdle gives a block of idle pages, or the end of an idle mapping, to the kernel and returns
// its bytes, 0 if there are none.
func (a *Arena) discardIdle() (released int64, err error) {
	a.purging.Lock()
	defer a.purging.Unlock()
	for range len(a.zones) + 1 {
		turn := a.decay.turn
		a.decay.turn = (turn + 1) % (len(a.zones) + 1)
		if turn == len(a.zones) {
			if released, err = a.discardKept(true, nil); released > 0 || err != nil {
				return released, err
			}
			continue
		}
		z := &a.zones[turn]
		page, order, ok := a.detach(z, z.detachIdle)
		if !ok {
			continue
		}
		if err := a.discardDetached(z, page, order); err != nil {
			return 0, err // these pages are tried again after another Decay
		}
		return mem.PageSize << order, nil
	}
	return 0, nil
}
