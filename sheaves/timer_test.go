package sheaves

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// TestTick: an rcu_free sheaf that was there a tick ago is started, a younger one is not.
func TestTick(t *testing.T) {
	r := newRig(t, 1)
	r.reader()
	r.tick()
	if r.timer.Armed() {
		t.Error("the timer runs and has nothing to do")
	}
	r.freeRCU(1)
	if !r.timer.Armed() {
		t.Error("nothing will start a half-full sheaf")
	}
	r.tick()
	r.expectRCU(1, 0)
	r.freeRCU(1) // joins the others, and must not make them wait longer
	r.tick()
	r.expectRCU(none, 1)
	r.freeRCU(3)
	r.tick()
	r.freeRCU(3)
	r.expectRCU(2, 2)
	r.tick()
	r.expectRCU(2, 2)
	if !r.timer.Armed() {
		t.Error("nothing will start the sheaf")
	}
	r.tick()
	r.expectRCU(none, 3)
}

// TestTickReclaims: sheaves that no CPU has wanted since the last tick are reclaimed, once their
// readers have finished. Younger ones are not.
func TestTickReclaims(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	r.park(2)
	// Two CPUs may park sheaves in another order than they started them.
	young, old := r.lastParked(), r.lastParked().next
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
	if !r.timer.Armed() {
		t.Error("nothing will reclaim what is waiting")
	}
	r.tick()
	r.expectRCU(none, 1)
	reader.Quiescent()
	r.tick()
	r.expectRCU(none, 0)
	if r.timer.Armed() {
		t.Error("the timer runs and has nothing to do")
	}
}

// TestTickReclaimsOnlyTheOld: what came after the last tick stays for CPUs that want it.
func TestTickReclaimsOnlyTheOld(t *testing.T) {
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
	if n := r.barns[0].lists[r.cpu%shards].ready.n; n != 1 {
		t.Errorf("counted %d ready sheaves, want 1", n)
	}
}

// TestTicksNoticeStalls: a reader that holds up a sheaf's grace period is found though no goroutine
// waits for it.
func TestTicksNoticeStalls(t *testing.T) {
	r := newRig(t, 1)
	stalls := make(chan rcu.Stall, 1000)
	r.domain.OnStall(1, func(s rcu.Stall) { stalls <- s })
	reader := r.reader()
	r.park(1)
	for range 200 { // one in 64 looks; the first finds the reader, the second reports it
		r.tick()
	}
	if r.domain.Stats().Stalls == 0 {
		t.Fatal("no stall was noticed")
	}
	if s := <-stalls; s.Reader == "" {
		t.Errorf("reported %v", s)
	}
	reader.Quiescent()
}

// TestTicksShareGracePeriods: the ticks of several Sets of one domain start a sheaf each, and the
// first Set that wants its sheaf has the grace period pass for all. One for each would be a system
// call for each, where sections are sequences.
func TestTicksShareGracePeriods(t *testing.T) {
	d := new(rcu.Domain)
	d.Enter().Exit() // sections have to be waited for from now on
	rigs := make([]*rig, 4)
	for i := range rigs {
		rigs[i] = newRigOf(t, 1, func(c *Config) { c.Domain = d })
		rigs[i].freeRCU(1)
	}
	periods := d.Stats().GracePeriods
	ticks := func(want uint64, what string) {
		t.Helper()
		for _, r := range rigs {
			r.tick()
		}
		now := d.Stats().GracePeriods
		if now-periods != want {
			t.Errorf("ticks that %s have had %d grace periods, want %d", what, now-periods, want)
		}
		periods = now
	}
	ticks(0, "find sheaves")
	ticks(0, "start sheaves")
	for _, r := range rigs {
		r.expectRCU(none, 1)
	}
	ticks(1, "want sheaves")
	for _, r := range rigs {
		r.expectRCU(none, 0)
	}
}

// TestTicksDontOverlap: the timer goes off while a destructor still holds up the last tick.
func TestTicksDontOverlap(t *testing.T) {
	r := newRig(t, 1)
	r.park(1)
	r.tick()
	r.src.onReclaim = func() {
		r.timer.Stop()
		r.freeRCU(1)
		r.within("tick", func() { r.tick(); r.tick() })
		if !r.timer.Armed() {
			t.Error("the tick that found the last one running doesn't come again")
		}
		r.expectRCU(1, 0)
	}
	r.tick()
	if r.src.reclaims() == 0 {
		t.Error("nothing has reclaimed")
	}
}

// TestDelay: an object is reclaimed without any further operation, and not before its reader has
// finished.
func TestDelay(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.Delay = time.Millisecond })
	reader := r.reader()
	r.freeRCU(1)
	eventually(t, "the half-full sheaf is started", func() bool { return r.Stats().Barns[0].Waiting == 1 })
	if got := r.src.reclaims(); got != 0 {
		t.Errorf("%d objects reclaimed under a reader", got)
	}
	reader.Offline()
	eventually(t, "the object has reclaimed", func() bool { return r.src.reclaims() == 1 })
}

// TestCloseWaitsForTick: a tick may hold sheaves.
func TestCloseWaitsForTick(t *testing.T) {
	r := newRig(t, 1)
	r.ticking.Lock()
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	doesNotHappen(t, "Close doesn't wait for a tick", closed)
	r.ticking.Unlock()
	<-closed
}

// TestCloseEndsTimer: the timer keeps no closed set from being collected.
func TestCloseEndsTimer(t *testing.T) {
	r := newRig(t, 1)
	r.Close()
	r.armTimer()
	if r.timer.Armed() {
		t.Error("the timer of a closed set was set")
	}
}

// TestTickTrims: exchanges leave empty sheaves beyond the limit, which a tick frees.
func TestTickTrims(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none, empty: 5})
	r.tick()
	r.expect(state{main: 0, spare: none, empty: 2}, events{SheafFree: 3})

	r.arrange(state{main: 0, spare: none, empty: 5})
	r.barns[0].mu.Lock()
	r.within("trim", func() { r.trim(&r.barns[0]) })
	r.barns[0].mu.Unlock()
	r.expect(state{main: 0, spare: none, empty: 5}, nil)
}

// TestIdleRCUFreeIsStarted: In the kernel, an object in the rcu_free sheaf of a CPU that frees no
// more is freed when the cache is flushed, which may be never. Here the timer starts the sheaf.
func TestIdleRCUFreeIsStarted(t *testing.T) {
	r := newRig(t, 1)
	var objs []unsafe.Pointer
	for cpu := range percpu.NumCPU() {
		r.moveTo(cpu)
		objs = append(objs, r.freeRCU(1)...)
	}
	if !r.timer.Armed() {
		t.Fatal("nothing will ever come back for it")
	}
	for i := 0; i < 4 && r.timer.Armed(); i++ {
		r.tick()
	}
	if got := r.src.reclaims(); got != len(objs) {
		t.Errorf("%d of %d objects have reclaimed", got, len(objs))
	}
	if r.timer.Armed() {
		t.Error("the timer goes on for nothing")
	}
}

// TestTickStartsTooMany: where more sheaves wait than MaxWaiting once a tick has started one, a
// callback reclaims them. No further tick is needed.
func TestTickStartsTooMany(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.MaxWaiting = None })
	r.freeRCU(1)
	r.tick()
	r.expectRCU(1, 0)
	r.tick()
	if err := r.domain.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	r.expectRCU(none, 0)
	if got := r.src.reclaims(); got != 1 {
		t.Errorf("%d objects reclaimed", got)
	}
}
