package sheaves

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// reader registers a reader, which holds up the grace periods until it reports.
func (r *rig) reader() *rcu.Reader {
	reader := r.domain.Register("test")
	r.t.Cleanup(func() { _ = reader.Close() })
	return reader
}

// park makes n sheaves of capacity objects each wait.
func (r *rig) park(n int) (objs []unsafe.Pointer) {
	for range n * r.Capacity() {
		objs = append(objs, r.freeRCU(1)...)
	}
	return objs
}

// lastParked returns the sheaf of node 0's that this CPU has parked last.
func (r *rig) lastParked() *sheaf { return r.barns[0].lists[r.cpu%shards].parked.Load() }

// keepFirst has the free hooks keep the first n objects.
func keepFirst(n int) func(unsafe.Pointer) bool {
	return func(unsafe.Pointer) bool { n--; return n >= 0 }
}

// TestReclaim: where a reclaimed sheaf goes (kernel: rcu_free_sheaf).
func TestReclaim(t *testing.T) {
	for name, tt := range map[string]struct {
		before  state
		kept    int
		noBarn  bool
		after   state
		counted events
	}{
		"room": {before: state{main: 0, spare: none, full: 1},
			after: state{main: 0, spare: none, full: 2}, counted: events{BarnPut: 1}},
		"partly full": {before: state{main: 0, spare: none}, kept: 3,
			after: state{main: 0, spare: none, full: 1}, counted: events{BarnPut: 1}},
		"too many full": {before: state{main: 0, spare: none, full: 2, empty: 1},
			after:   state{main: 0, spare: none, full: 2, empty: 2},
			counted: events{BarnPutFail: 1, SheafFlush: 4}},
		"too many full and empty": {before: state{main: 0, spare: none, full: 2, empty: 2},
			after:   state{main: 0, spare: none, full: 2, empty: 2},
			counted: events{BarnPutFail: 1, SheafFlush: 4, SheafFree: 1}},
		"nothing left": {before: state{main: 0, spare: none, empty: 1}, kept: 4,
			after: state{main: 0, spare: none, empty: 2}},
		"nothing left and too many": {before: state{main: 0, spare: none, empty: 2}, kept: 4,
			after: state{main: 0, spare: none, empty: 2}, counted: events{SheafFree: 1}},
		"flushed": {before: state{main: 0, spare: none}, noBarn: true,
			after: state{main: 0, spare: none}, counted: events{SheafFlush: 4, SheafFree: 1}},
		"flushed, and something kept": {before: state{main: 0, spare: none}, kept: 1, noBarn: true,
			after: state{main: 0, spare: none}, counted: events{SheafFlush: 3, SheafFree: 1}},
		"flushed, and nothing left": {before: state{main: 0, spare: none}, kept: 4, noBarn: true,
			after: state{main: 0, spare: none}, counted: events{SheafFree: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			reader := r.reader()
			objs := r.park(1)
			r.lastParked().noBarn = tt.noBarn
			r.arrange(tt.before)
			r.src.keep = keepFirst(tt.kept)
			if r.reclaimOne(&r.barns[0]) {
				t.Error("a sheaf was reclaimed under a reader")
			}
			reader.Quiescent()
			if !r.reclaimOne(&r.barns[0]) || r.reclaimOne(&r.barns[0]) {
				t.Error("one sheaf is ready, neither none nor two")
			}
			r.expect(tt.after, tt.counted)
			if !slices.Equal(r.src.reclaimed, objs) {
				t.Errorf("reclaimed %v, want %v", r.src.reclaimed, objs)
			}
		})
	}
}

// TestReclaimOrder: the youngest of the ready sheaves is the next, whichever CPU it came from, and
// none is ready before its grace period is over.
func TestReclaimOrder(t *testing.T) {
	r := newRig(t, 1)
	reader := r.reader()
	sheaves := [][]unsafe.Pointer{r.park(1), r.park(1)}
	reader.Quiescent()
	if !r.reclaimOne(&r.barns[0]) {
		t.Error("two sheaves are ready, and none was reclaimed")
	}
	r.moveTo(percpu.NumCPU() - 1)
	sheaves = append(sheaves, r.park(1), r.park(1))
	reader.Quiescent()
	sheaves = append(sheaves, r.park(1))
	for range sheaves {
		r.reclaimOne(&r.barns[0])
	}
	for i, want := range []int{1, 3, 2, 0} {
		if got := r.src.reclaimed[i*4:][:4]; !slices.Equal(got, sheaves[want]) {
			t.Errorf("number %d to be reclaimed was %v, want %v", i, got, sheaves[want])
		}
	}
	r.expectRCU(none, 1)
}

// TestAllocReclaims: a CPU that has no other objects takes a ready sheaf, and no sheaf whose grace
// period is not over, before it asks the Source.
func TestAllocReclaims(t *testing.T) {
	for name, tt := range map[string]struct {
		kept, flushed int
		after         state
		counted       events
	}{
		"whole": {flushed: none,
			after:   state{main: 3, spare: 0, empty: 1},
			counted: events{BarnGetFail: 1, BarnGet: 1, BarnPut: 1}},
		"in part": {kept: 3, flushed: none,
			after:   state{main: 0, spare: 0, empty: 1},
			counted: events{BarnGetFail: 1, BarnGet: 1, BarnPut: 1}},
		"nothing left, refill": {kept: 4, flushed: none,
			after: state{main: 3, spare: 0, empty: 1}, counted: events{BarnGetFail: 1, SheafRefill: 4}},
		"started by a flush only": {after: state{main: 3, spare: 0},
			counted: events{BarnGetFail: 1, SheafFlush: 4, SheafFree: 1, SheafRefill: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			reader := r.reader()
			r.park(1)
			r.lastParked().noBarn = tt.flushed != none
			r.arrange(state{main: 0, spare: none, empty: 1})
			r.src.keep = keepFirst(tt.kept)
			if !alloc(r) {
				t.Fatal("no object")
			}
			if r.src.reclaims() != 0 {
				t.Fatal("a sheaf was reclaimed under a reader")
			}
			r.arrange(state{main: 0, spare: none, empty: 1})
			reader.Quiescent()
			if !alloc(r) {
				t.Fatal("no object")
			}
			r.expect(tt.after, tt.counted)
		})
	}
}

// TestExcess: beyond MaxWaiting a callback reclaims the sheaves, and another one those that it
// found not ready.
func TestExcess(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.MaxWaiting = 2 })
	reader := r.reader()
	b := &r.barns[0]
	r.park(2)
	if b.armed.Load() {
		t.Error("a callback is queued for what the timer can do")
	}
	more := make(chan struct{})
	r.src.onReclaim = func() {
		// On the callback's goroutine, which is reclaiming a third sheaf: what is started now must
		// have a callback of its own.
		if b.armed.Load() {
			t.Error("the callback runs and shows as queued")
		}
		for range 12 {
			if p := r.src.take(0, 1)[0]; !r.TryFreeRCU(p, 0, MayWait) {
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

// TestExcessNotReady: a callback that comes too early for some sheaves queues another one.
func TestExcessNotReady(t *testing.T) {
	r := newRigOf(t, 1, func(c *Config) { c.MaxWaiting = 1 })
	reader := r.reader()
	b := &r.barns[0]
	b.armed.Store(true) // as if a callback were queued, whose grace period ends now
	r.park(3)
	r.reclaimExcess(b)
	if !b.armed.Load() {
		t.Error("nothing will reclaim the sheaves")
	}
	reader.Quiescent()
	eventually(t, "the excess is reclaimed", func() bool { return r.Stats().Barns[0].Waiting == 1 })
}

// TestReclaimEndsItsGoroutine: if a destructor ends the goroutine that reclaims sheaves, the sheaf
// that it was reclaiming still goes to its place, the others are reclaimed before a Barrier
// returns, and the timer is set for those that no goroutine has taken.
func TestReclaimEndsItsGoroutine(t *testing.T) {
	for name, run := range map[string]func(*rig){
		"reclaimOne":    func(r *rig) { r.reclaimOne(&r.barns[0]) },
		"reclaimAll":    (*rig).ReclaimReady,
		"takeReclaimed": func(r *rig) { r.takeReclaimed(&r.barns[0]) },
		"Barrier":       func(r *rig) { _ = r.Barrier(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := limited(t, unlimited, unlimited, 0)
			r.freeRCU(12) // three sheaves
			r.src.exits = 2
			r.timer.Stop()
			done := make(chan bool)
			go func() {
				defer close(done)
				run(r)
			}()
			<-done
			if !r.timer.Armed() {
				t.Error("the timer is not set")
			}
			for range 2 { // the destructor may have ended the first Barrier
				r.within("Barrier", func() { _ = r.Barrier(t.Context()) })
			}
			if n := r.src.reclaims(); n != 12 {
				t.Errorf("%d of 12 objects reclaimed", n)
			}
			r.expectCharged("when all is over", 0)
		})
	}
}

// TestEmptySheafBeyondTheLimit: In the kernel, a sheaf whose objects the hooks had all kept was to
// go to the barn's empty ones. When these had reached their limit the sheaf leaked.
func TestEmptySheafBeyondTheLimit(t *testing.T) {
	r := newRig(t, 1)
	r.park(3)
	r.arrange(state{main: 0, spare: none, empty: r.MaxEmpty() - 1})
	r.src.keep = keepFirst(3 * r.Capacity())
	for r.reclaimOne(&r.barns[0]) {
	}
	r.expect(state{main: 0, spare: none, empty: r.MaxEmpty()}, events{SheafFree: 2})
	// And audit finds every sheaf back in its pool.
}

// TestBarnOfTheRightNode: In the kernel, every CPU had a pointer to a barn, which was set up for
// all possible CPUs when the cache was made. For those that were offline then, the node was bogus.
// Here a walk looks the barn up, and a sheaf that has waited goes back to the barn that it came
// from, whichever CPU finds it ready.
func TestBarnOfTheRightNode(t *testing.T) {
	r := newRig(t, 2)
	r.park(2)
	r.arrange(state{main: 0, spare: none})
	r.moveTo(1)
	r.arrange(state{main: 0, spare: none})
	if !r.reclaimOne(&r.barns[0]) {
		t.Fatal("nothing is ready")
	}
	r.tick() // notes the other one
	r.tick() // reaps it
	r.expect(state{main: 0, spare: none}, events{BarnPut: 2})
	r.got(r.TryAlloc()) // must not be of node 0, though that has plenty
	for p := range r.mine {
		if nodeOf(p) != 1 {
			t.Errorf("CPU 1 got %v of node %d", p, nodeOf(p))
		}
	}
	r.cpu = 0
	if got, want := r.state(), (state{main: 0, spare: none, full: 2}); got != want {
		t.Errorf("node 0 has %+v, want %+v", got, want)
	}
}
