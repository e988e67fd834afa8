// Package lazytimer runs a function some time after work has arrived, and lets nothing tick while
// there is none.
//
// # No arrival is missed
//
// An arrival puts its work in place, then calls Arm. The timer clears its armed flag, then looks
// for work. Go's atomics are sequentially consistent, so one of two things holds:
//
//		arrival: work in place, armed set or found set
//		timer:   armed cleared, work looked for
//
//	  - Arm finds the flag not set, or cleared: it sets the timer, and a later run finds the work.
//	  - Arm finds the flag set. Then it comes before the clearing, so that the work is in place
//	    before the timer looks for it.
//
// A Timer from Init clears the flag before it calls its function, which then looks. One from
// InitExclusive clears it when its function has found no more work, and then looks once more.
package lazytimer

import (
	"sync/atomic"
	"time"
)

// A Timer is armed by the first arrival and disarmed when there is no more work. Any goroutine
// may call Arm and Armed, after Init or InitExclusive.
type Timer struct {
	armed atomic.Bool // the timer is set, or an exclusive run is under way
	timer *time.Timer
	fire  func() // what timer calls
}

// Init prepares a timer whose runs may overlap: arrivals during a run set the timer again. run is
// called on a goroutine of its own. It looks for work once and calls Arm if any is left. It may
// end its goroutine.
func (t *Timer) Init(run func()) {
	t.init(func() {
		t.armed.Store(false)
		run()
	})
}

// InitExclusive prepares a timer of which one run at a time is under way. run returns how long to
// rest before the next run, or 0 if it has found no more work. Then pending is asked, and if it
// reports work after all, the next run comes after delay. What run alone uses needs no lock.
func (t *Timer) InitExclusive(run func() (rest time.Duration), pending func() bool, delay time.Duration) {
	t.init(func() {
		if rest := run(); rest > 0 {
			t.timer.Reset(rest)
			return
		}
		t.armed.Store(false)
		if pending() {
			t.Arm(delay)
		}
	})
}

func (t *Timer) init(fire func()) {
	t.fire = fire
	t.timer = time.AfterFunc(time.Hour, fire)
	t.timer.Stop()
}

// Fire does on the calling goroutine what the timer does when its time has come. For tests.
func (t *Timer) Fire() { t.fire() }

// Arm has the timer run after d, unless it is armed already. Costs a load then, and otherwise may
// wake a thread: not under a lock that operations wait for.
func (t *Timer) Arm(d time.Duration) {
	if !t.armed.Load() && t.armed.CompareAndSwap(false, true) {
		t.timer.Reset(d)
	}
}

// Armed reports whether a run is to come, or an exclusive one is under way.
func (t *Timer) Armed() bool { return t.armed.Load() }

// Stop takes back what Arm has set, and reports whether there was anything. A run that is under
// way goes on, and may set the timer again. The caller makes sure that nothing arrives meanwhile:
// such an arrival may have to wait for the next one.
func (t *Timer) Stop() bool {
	stopped := t.timer.Stop()
	if stopped {
		t.armed.Store(false) // otherwise the run clears it, in its own time
	}
	return stopped
}
