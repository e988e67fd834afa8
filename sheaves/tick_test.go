package sheaves

import (
	"testing"
	"time"
)

// TestTick: an rcu_free sheaf that was there a tick ago is submitted, a younger one
// isn't.
func TestTick(t *testing.T) {
	r := newRig(t, 1)
	r.reader()
	r.tick()
	if r.timerArmed.Load() {
		t.Error("the timer runs and has nothing to do")
	}
	r.retire(1)
	if !r.timerArmed.Load() {
		t.Error("nobody will submit a half-full sheaf")
	}
	r.tick()
	r.expectRCU(1, 0)
	r.retire(1) // joins the others; must not keep them waiting
	r.tick()
	r.expectRCU(none, 1)
	r.retire(3)
	r.tick()
	r.retire(3)
	r.expectRCU(2, 2)
	r.tick()
	r.expectRCU(2, 2)
	if !r.timerArmed.Load() {
		t.Error("nobody will submit the sheaf")
	}
	r.tick()
	r.expectRCU(none, 3)
}

// TestTickReaps: sheaves that nobody has wanted since the last tick are reaped, once
// their readers are through; younger ones aren't.
func TestTickReaps(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	b := &r.barns[0]
	r.park(2)
	// Two CPUs may park in another order than they asked for their grace periods.
	young, old := b.parked.Load(), b.parked.Load().next
	young.token, old.token = old.token, young.token
	r.tick()
	r.expectRCU(none, 2)
	reader.Quiescent()
	r.park(1)
	reader.Quiescent()
	r.tick()
	r.expectRCU(none, 1)
	r.park(1)
	r.tick()
	r.expectRCU(none, 1)
	if !r.timerArmed.Load() {
		t.Error("nobody will reap what is waiting")
	}
	r.tick()
	r.expectRCU(none, 1)
	reader.Quiescent()
	r.tick()
	r.expectRCU(none, 0)
	if r.timerArmed.Load() {
		t.Error("the timer runs and has nothing to do")
	}
}

// TestTickReapsTheOldOnly: what came after the last tick stays for those who want it.
func TestTickReapsTheOldOnly(t *testing.T) {
	r := newRig(t, 1)
	r.park(1)
	r.tick()
	r.expectRCU(none, 1)
	reader := r.reader()
	r.park(2)
	r.tick()
	r.expectRCU(none, 2)
	reader.Quiescent()
	r.park(1)
	reader.Quiescent()
	r.tick()
	r.expectRCU(none, 1)
	if n := r.barns[0].ready.n; n != 1 {
		t.Errorf("counted %d ready sheaves, want 1", n)
	}
}

// TestTicksDontOverlap: the timer goes off while a destructor still holds the last
// tick up.
func TestTicksDontOverlap(t *testing.T) {
	r := newRig(t, 1)
	r.park(1)
	r.tick()
	r.src.onExpire = func() {
		r.timerArmed.Store(false)
		r.retire(1)
		r.within("tick", func() { r.tick(); r.tick() })
		if !r.timerArmed.Load() {
			t.Error("the tick that was turned away doesn't come again")
		}
		r.expectRCU(1, 0)
	}
	r.tick()
	if r.src.expiries() == 0 {
		t.Error("nothing has expired")
	}
}

// TestDelay: without anybody's help an object is free again, and was not before its
// reader was through.
func TestDelay(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.Delay = time.Millisecond })
	reader := r.reader()
	r.retire(1)
	eventually(t, "the half-full sheaf is submitted", func() bool { return r.Stats().Barns[0].Waiting == 1 })
	if got := r.src.expiries(); got != 0 {
		t.Errorf("%d objects expired under a reader", got)
	}
	reader.Offline()
	eventually(t, "the object has expired", func() bool { return r.src.expiries() == 1 })
}

// TestCloseWaitsForTick: a tick may have sheaves in hand.
func TestCloseWaitsForTick(t *testing.T) {
	r := newRig(t, 1)
	r.ticking.Lock()
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	stays(t, "Close doesn't wait for a tick", closed)
	r.ticking.Unlock()
	<-closed
}

// TestCloseEndsTimer: an idle closed set is garbage.
func TestCloseEndsTimer(t *testing.T) {
	r := newRig(t, 1)
	r.Close()
	r.armTimer()
	if r.timerArmed.Load() {
		t.Error("the timer of a closed set was set")
	}
}

// TestTickTrims: exchanges leave empty sheaves beyond the limit, and walks need not.
func TestTickTrims(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 0, 5})
	r.tick()
	r.expect(state{0, none, 0, 2}, events{SheafFree: 3})

	r.arrange(state{0, none, 0, 5})
	r.barns[0].mu.Lock()
	r.within("trim", func() { r.trim(&r.barns[0]) })
	r.barns[0].mu.Unlock()
	r.expect(state{0, none, 0, 5}, nil)
}
