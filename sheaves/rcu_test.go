package sheaves

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// rcuSize tells how many objects the CPU's rcu_free holds, or none.
func (r *rig) rcuSize() int {
	st := r.hold(percpu.RCU)
	defer st.Unlock()
	if st.Sheaf == 0 {
		return none
	}
	return st.Size()
}

func (r *rig) expectRCU(size, waiting int) {
	r.t.Helper()
	if got := r.rcuSize(); got != size {
		r.t.Errorf("rcu_free holds %d, want %d", got, size)
	}
	if got := r.Stats().Barns[r.NodeOfCPU(r.cpu)].Waiting; got != waiting {
		r.t.Errorf("%d sheaves wait, want %d", got, waiting)
	}
}

// pushRCU frees an object as a cache does: the stack first, which here takes the lock
// as the trylock engine does.
func (r *rig) pushRCU(p unsafe.Pointer, own uint32) (ok bool) {
	if st, _ := r.Slots.TryLock(percpu.RCU); st != nil {
		ok = st.Own() == own && st.PushN([]unsafe.Pointer{p}) == 1
		st.Unlock()
	}
	if ok = ok || r.FreeRCU(p, own, true); ok {
		r.gone(p)
	}
	return ok
}

// retire has n new objects of the CPU's node accepted by FreeRCU.
func (r *rig) retire(n int) []unsafe.Pointer {
	r.t.Helper()
	objs := r.take(n)
	for _, p := range objs {
		if !r.pushRCU(p, own(r.NodeOfCPU(r.cpu))) {
			r.t.Fatalf("object %v was refused", p)
		}
	}
	return objs
}

// refuseRCU has an object refused by FreeRCU.
func (r *rig) refuseRCU(own uint32) {
	r.t.Helper()
	if r.pushRCU(r.take(1)[0], own) {
		r.t.Error("the object was accepted")
	}
}

// TestFreeRCUFirst: where the first object's rcu_free comes from (kernel: __kfree_rcu_sheaf).
func TestFreeRCUFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after state
		counted       events
	}{
		"empty spare":        {state{2, 0, 0, 1}, state{2, none, 0, 1}, nil},
		"barn, no spare":     {state{2, none, 1, 1}, state{2, none, 1, 0}, nil},
		"barn, spare in use": {state{2, 1, 0, 2}, state{2, 1, 0, 1}, nil},
		"a new one":          {state{2, 4, 1, 0}, state{2, 4, 1, 0}, events{SheafAlloc: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			r.retire(1)
			r.expect(tt.after, tt.counted)
			r.expectRCU(1, 0)
		})
	}
}

// TestFreeRCURefusals: whatever keeps __kfree_rcu_sheaf from a sheaf counts once.
func TestFreeRCURefusals(t *testing.T) {
	full := state{4, none, 0, 0}
	for name, tt := range map[string]struct {
		prepare func(*rig)
		counted events
	}{
		"held":        {func(r *rig) { r.release = r.hold(percpu.RCU).Unlock }, events{RCUFail: 1}},
		"no memory":   {(*rig).outOfMemory, events{RCUFail: 1}},
		"other owner": {func(r *rig) { r.Set.Own = func(int) uint32 { return 7 } }, events{RCUFail: 1}},
		"closed":      {func(r *rig) { r.Close(); r.start = r.Stats().Events }, events{RCUFail: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(full)
			tt.prepare(r)
			r.refuseRCU(r.Own(0))
			if r.release != nil {
				r.release()
			}
			r.expectEvents(tt.counted)
			r.expectRCU(none, 0)
		})
	}
}

// TestFreeRCURace: what installRCU finds when it comes back with an empty sheaf.
func TestFreeRCURace(t *testing.T) {
	t.Run("another was faster", func(t *testing.T) {
		r := newRig(t, 1)
		r.arrange(state{0, 0, 0, 2})
		p := r.take(1)[0]
		r.onNodeOfCPU = func() { r.retire(1) } // has the spare, when this walk looks for it
		if !r.FreeRCU(p, own(0), true) {
			t.Error("refused")
		}
		r.gone(p)
		r.expect(state{0, none, 0, 2}, nil)
		r.expectRCU(2, 0)
	})
	t.Run("held", func(t *testing.T) {
		r := newRig(t, 1)
		r.arrange(state{0, none, 0, 0})
		st := r.hold(percpu.RCU)
		if got, _ := r.installRCU(0, own(0), true); got != nil {
			t.Error("installed in a held stack")
		}
		st.Unlock()
		r.expect(state{0, none, 0, 1}, events{SheafAlloc: 1})
	})
	t.Run("barn held as well", func(t *testing.T) {
		r := newRig(t, 1)
		r.arrange(state{0, none, 0, 0})
		r.retire(1)
		before := r.Slots.Snapshot(0, percpu.RCU).Seq
		r.barns[0].mu.Lock()
		go func() {
			defer r.barns[0].mu.Unlock()
			eventually(t, "the walk has had the lock", func() bool {
				return r.Slots.Snapshot(0, percpu.RCU).Seq > before
			})
		}()
		r.within("installRCU", func() {
			if st, _ := r.installRCU(0, own(0), true); st != nil {
				st.Unlock()
				t.Error("kept the lock while it waited for the barn")
			}
		})
		r.expect(state{0, none, 0, 1}, events{SheafAlloc: 2})
	})
	t.Run("closed", func(t *testing.T) {
		r := newRig(t, 1)
		st := r.hold(percpu.RCU)
		st.Install(0, 0, 0, 0) // as Close leaves it, when a walk has its empty sheaf already
		st.Unlock()
		r.closed.Store(true)
		if st, _ := r.installRCU(0, own(0), true); st != nil {
			t.Error("installed in a closed stack")
		}
		if got, want := r.state(), (state{0, none, 0, 0}); got != want {
			t.Errorf("%+v, want %+v: nobody empties the barn any more", got, want)
		}
		r.closed.Store(false)
	})
}

// TestFreeRCUMigrated: an object of the old CPU's node is no business of the new one.
func TestFreeRCUMigrated(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{0, none, 0, 0}) // or it adopts the barn's under its lock
	p := r.take(1)[0]
	r.onNodeOfCPU = func() { r.moveTo(1) }
	if r.FreeRCU(p, own(0), true) {
		t.Error("CPU 1 took an object of node 0")
	}
	r.expectRCU(none, 0)
	r.cpu = 0
	r.expect(state{0, none, 0, 1}, events{RCUFail: 1, SheafAlloc: 1})
	r.expectRCU(none, 0)
}

// TestFreeRCUFills: a sheaf is submitted by exactly the object that fills it, and
// every object counts once.
func TestFreeRCUFills(t *testing.T) {
	for _, capacity := range []int{1, 2, 4} {
		r := newRigOf(t, 1, func(c *Config) { c.Capacity = capacity })
		r.reader()
		for n := 1; n <= 3*capacity; n++ {
			r.retire(1)
			left := n % capacity
			if left == 0 {
				left = none
			}
			r.expectRCU(left, n/capacity)
			if got := r.Stats().RCUPushes; got != uint64(n) {
				t.Errorf("%d objects counted of %d", got, n)
			}
			if got := r.Stats().RCUObjects + r.Stats().Barns[0].WaitingObjects; got != uint64(n) {
				t.Errorf("%d objects wait, want %d", got, n)
			}
		}
	}
}
