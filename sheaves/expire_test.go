package sheaves

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// reader registers a reader, which holds up the grace periods until it is told to
// report.
func (r *rig) reader() *rcu.Reader {
	reader := r.Domain.Register("test")
	r.t.Cleanup(func() { _ = reader.Close() })
	return reader
}

// park makes n sheaves of capacity objects each wait, without counting events.
func (r *rig) park(n int) (objs []unsafe.Pointer) {
	for range n * r.Capacity() {
		objs = append(objs, r.retire(1)...)
	}
	return objs
}

// keepFirst has the free hooks keep the first n objects that expire.
func keepFirst(n int) func(unsafe.Pointer) bool {
	return func(unsafe.Pointer) bool { n--; return n >= 0 }
}

// TestExpire: where an expired sheaf goes (kernel: rcu_free_sheaf).
func TestExpire(t *testing.T) {
	for name, tt := range map[string]struct {
		before  state
		kept    int
		noBarn  bool
		after   state
		counted events
	}{
		"room":                        {state{0, none, 1, 0}, 0, false, state{0, none, 2, 0}, events{BarnPut: 1}},
		"partly full":                 {state{0, none, 0, 0}, 3, false, state{0, none, 1, 0}, events{BarnPut: 1}},
		"too many full":               {state{0, none, 2, 1}, 0, false, state{0, none, 2, 2}, events{BarnPutFail: 1, Flushed: 4}},
		"too many full and empty":     {state{0, none, 2, 2}, 0, false, state{0, none, 2, 2}, events{BarnPutFail: 1, Flushed: 4, SheafFree: 1}},
		"nothing left":                {state{0, none, 0, 1}, 4, false, state{0, none, 0, 2}, nil},
		"nothing left and too many":   {state{0, none, 0, 2}, 4, false, state{0, none, 0, 2}, events{SheafFree: 1}},
		"flushed":                     {state{0, none, 0, 0}, 0, true, state{0, none, 0, 0}, events{Flushed: 4, SheafFree: 1}},
		"flushed, and something kept": {state{0, none, 0, 0}, 1, true, state{0, none, 0, 0}, events{Flushed: 3, SheafFree: 1}},
		"flushed, and nothing left":   {state{0, none, 0, 0}, 4, true, state{0, none, 0, 0}, events{SheafFree: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			reader := r.reader()
			objs := r.park(1)
			r.barns[0].parked.Load().noBarn = tt.noBarn
			r.arrange(tt.before)
			r.src.keep = keepFirst(tt.kept)
			if r.reapOne(&r.barns[0]) {
				t.Error("expired under a reader")
			}
			reader.Quiescent()
			if !r.reapOne(&r.barns[0]) || r.reapOne(&r.barns[0]) {
				t.Error("one sheaf is ready, neither none nor two")
			}
			r.expect(tt.after, tt.counted)
			if !slices.Equal(r.src.expired, objs) {
				t.Errorf("expired %v, want %v", r.src.expired, objs)
			}
		})
	}
}

// TestExpireOrder: of the sheaves that are ready the youngest is the next, whichever
// CPU it came from, and none is ready before its grace period is over.
func TestExpireOrder(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	sheaves := [][]unsafe.Pointer{r.park(1), r.park(1)}
	reader.Quiescent()
	if !r.reapOne(&r.barns[0]) {
		t.Error("two sheaves are ready, and none was reaped")
	}
	r.moveTo(percpu.NumCPU() - 1)
	sheaves = append(sheaves, r.park(1), r.park(1))
	reader.Quiescent()
	sheaves = append(sheaves, r.park(1))
	for range sheaves {
		r.reapOne(&r.barns[0])
	}
	for i, want := range []int{1, 3, 2, 0} {
		if got := r.src.expired[i*4:][:4]; !slices.Equal(got, sheaves[want]) {
			t.Errorf("number %d to expire was %v, want %v", i, got, sheaves[want])
		}
	}
	r.expectRCU(none, 1)
}

// TestAllocExpired: a CPU that runs dry takes a sheaf whose grace period is over, and
// none other, before it asks for slabs.
func TestAllocExpired(t *testing.T) {
	for name, tt := range map[string]struct {
		kept, flushed int
		after         state
		counted       events
	}{
		"whole":                     {0, none, state{3, 0, 0, 1}, events{BarnGetFail: 1, BarnGet: 1, BarnPut: 1}},
		"in part":                   {3, none, state{0, 0, 0, 1}, events{BarnGetFail: 1, BarnGet: 1, BarnPut: 1}},
		"nothing left, refill":      {4, none, state{3, 0, 0, 1}, events{BarnGetFail: 1, Refilled: 4}},
		"submitted by a flush only": {0, 0, state{3, 0, 0, 0}, events{BarnGetFail: 1, Flushed: 4, SheafFree: 1, Refilled: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			reader := r.reader()
			r.park(1)
			r.barns[0].parked.Load().noBarn = tt.flushed != none
			r.arrange(state{0, none, 0, 1})
			r.src.keep = keepFirst(tt.kept)
			if !alloc(r) {
				t.Fatal("no object")
			}
			if r.src.expiries() != 0 {
				t.Fatal("expired under a reader")
			}
			r.arrange(state{0, none, 0, 1})
			reader.Quiescent()
			if !alloc(r) {
				t.Fatal("no object")
			}
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestBacklog: more than MaxWaiting sheaves are worth a callback, which reaps the
// excess and comes again for what it found not ready.
func TestBacklog(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.MaxWaiting = 2 })
	reader := r.reader()
	b := &r.barns[0]
	r.park(2)
	if b.armed.Load() {
		t.Error("a callback is queued for what the timer can do")
	}
	more := make(chan struct{})
	r.src.onExpire = func() {
		// On the callback's goroutine, which has a third sheaf in hand: what is
		// submitted now must have a callback of its own.
		if b.armed.Load() {
			t.Error("the callback runs and shows as queued")
		}
		for range 12 {
			if p := r.src.take(0, 1)[0]; !r.FreeRCU(p, own(0), true) {
				r.src.giveBack([]unsafe.Pointer{p})
			}
		}
		close(more)
	}
	r.park(1)
	if !b.armed.Load() {
		t.Error("no callback is queued for three sheaves")
	}
	reader.Quiescent()
	<-more
	// Each report is what the callback of that round waits for.
	eventually(t, "the excess is gone", func() bool {
		reader.Quiescent()
		return r.Stats().Barns[0].Waiting == 2
	})
}

// TestBacklogNotReady: a callback that came too early for some sheaves queues another.
func TestBacklogNotReady(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.MaxWaiting = 1 })
	reader := r.reader()
	b := &r.barns[0]
	b.armed.Store(true) // as if a callback were queued, whose grace period ends now
	r.park(3)
	r.reapExcess(b)
	if !b.armed.Load() {
		t.Error("nobody will reap the sheaves")
	}
	reader.Quiescent()
	eventually(t, "the excess is reaped", func() bool { return r.Stats().Barns[0].Waiting == 1 })
}

// TestExpireEndsItsGoroutine: where a destructor ends the goroutine of whoever came for
// sheaves, the sheaf that it was at goes to its place, others are expired all the same,
// before a Barrier returns, and the timer is set for those that nobody has taken.
func TestExpireEndsItsGoroutine(t *testing.T) {
	for name, run := range map[string]func(*rig){
		"reapOne": func(r *rig) { r.reapOne(&r.barns[0]) },
		"reapAll": (*rig).Reap,
		"expired": func(r *rig) { r.expired(&r.barns[0]) },
		"Barrier": func(r *rig) { _ = r.Barrier(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := limited(t, 0, 0, 0)
			r.retire(12) // three sheaves
			r.src.deserts = 2
			r.timerArmed.Store(false)
			done := make(chan bool)
			go func() {
				defer close(done)
				run(r)
			}()
			<-done
			if !r.timerArmed.Load() {
				t.Error("the timer is not set")
			}
			r.within("Barrier", func() { _ = r.Barrier(t.Context()) })
			r.within("Barrier", func() { _ = r.Barrier(t.Context()) }) // the first may have been the second to be ended
			if n := r.src.expiries(); n != 12 {
				t.Errorf("%d of 12 objects expired", n)
			}
			r.owes("when all is over", 0)
		})
	}
}
