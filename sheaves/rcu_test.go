package sheaves

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
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
	if got := r.Stats().Barns[r.homes.Index(r.cpu)].Waiting; got != waiting {
		r.t.Errorf("%d sheaves wait, want %d", got, waiting)
	}
}

// pushRCU frees an object as a cache does, the stack first. It takes the stack's lock for that, as
// the trylock engine does.
func (r *rig) pushRCU(p unsafe.Pointer, node int) (ok bool) {
	if st, _ := r.slots.TryLock(percpu.RCU); st != nil {
		ok = st.Own() == r.owners[node] && st.PushN([]unsafe.Pointer{p}) == 1
		st.Unlock()
	}
	if ok = ok || r.TryFreeRCU(p, node, MayWait); ok {
		r.gone(p)
	}
	return ok
}

// freeRCU has n new objects of the CPU's node accepted by TryFreeRCU.
func (r *rig) freeRCU(n int) []unsafe.Pointer {
	r.t.Helper()
	objs := r.take(n)
	for _, p := range objs {
		if !r.pushRCU(p, r.homes.Index(r.cpu)) {
			r.t.Fatalf("object %v was refused", p)
		}
	}
	return objs
}

// refuseRCU has an object refused by TryFreeRCU.
func (r *rig) refuseRCU(node int) {
	r.t.Helper()
	if r.pushRCU(r.take(1)[0], node) {
		r.t.Error("the object was accepted")
	}
}

// TestFreeRCUFirst: where the first object's rcu_free comes from (kernel: __kfree_rcu_sheaf).
func TestFreeRCUFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after state
		counted       events
	}{
		"empty spare": {before: state{main: 2, spare: 0, empty: 1},
			after: state{main: 2, spare: none, empty: 1}},
		"barn, no spare": {before: state{main: 2, spare: none, full: 1, empty: 1},
			after: state{main: 2, spare: none, full: 1}},
		"barn, spare in use": {before: state{main: 2, spare: 1, empty: 2},
			after: state{main: 2, spare: 1, empty: 1}},
		"a new one": {before: state{main: 2, spare: 4, full: 1},
			after: state{main: 2, spare: 4, full: 1}, counted: events{SheafAlloc: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(tt.before)
			r.freeRCU(1)
			r.expect(tt.after, tt.counted)
			r.expectRCU(1, 0)
		})
	}
}

// TestFreeRCURefusals: every reason for which __kfree_rcu_sheaf gets no sheaf counts once.
func TestFreeRCURefusals(t *testing.T) {
	full := state{main: 4, spare: none}
	for name, tt := range map[string]struct {
		prepare func(*rig)
		counted events
	}{
		"held": {prepare: func(r *rig) { r.release = r.hold(percpu.RCU).Unlock },
			counted: events{FreeRCUSheafFail: 1}},
		"no memory": {prepare: (*rig).outOfMemory, counted: events{FreeRCUSheafFail: 1}},
		"other owner": {prepare: func(r *rig) { r.owners[0] = owner.Of(7, 0) },
			counted: events{FreeRCUSheafFail: 1}},
		"closed": {prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			counted: events{FreeRCUSheafFail: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(full)
			tt.prepare(r)
			r.refuseRCU(0)
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
		r.arrange(state{main: 0, spare: 0, empty: 2})
		p := r.take(1)[0]
		r.onBarnOf = func() { r.freeRCU(1) } // has the spare, when this walk looks for it
		if !r.TryFreeRCU(p, 0, MayWait) {
			t.Error("refused")
		}
		r.gone(p)
		r.expect(state{main: 0, spare: none, empty: 2}, nil)
		r.expectRCU(2, 0)
	})
	t.Run("held", func(t *testing.T) {
		r := newRig(t, 1)
		r.arrange(state{main: 0, spare: none})
		st := r.hold(percpu.RCU)
		if got, _ := r.installRCU(0, own(0), MayWait); got != nil {
			t.Error("installed in a held stack")
		}
		st.Unlock()
		r.expect(state{main: 0, spare: none, empty: 1}, events{SheafAlloc: 1})
	})
	t.Run("barn held as well", func(t *testing.T) {
		r := newRig(t, 1)
		r.arrange(state{main: 0, spare: none})
		r.freeRCU(1)
		before := r.slots.Snapshot(0, percpu.RCU).Seq
		r.barns[0].mu.Lock()
		go func() {
			defer r.barns[0].mu.Unlock()
			eventually(t, "the walk has had the lock", func() bool {
				return r.slots.Snapshot(0, percpu.RCU).Seq > before
			})
		}()
		r.within("installRCU", func() {
			if st, _ := r.installRCU(0, own(0), MayWait); st != nil {
				st.Unlock()
				t.Error("kept the lock while it waited for the barn")
			}
		})
		r.expect(state{main: 0, spare: none, empty: 1}, events{SheafAlloc: 2})
	})
	t.Run("closed", func(t *testing.T) {
		r := newRig(t, 1)
		st := r.hold(percpu.RCU)
		st.Install(0, 0, 0, 0) // as Close leaves it, when a walk has its empty sheaf already
		st.Unlock()
		r.closed.Store(true)
		if st, _ := r.installRCU(0, own(0), MayWait); st != nil {
			t.Error("installed in a closed stack")
		}
		if got, want := r.state(), (state{main: 0, spare: none}); got != want {
			t.Errorf("%+v, want %+v: the barn is not emptied any more", got, want)
		}
		r.closed.Store(false)
	})
}

// TestFreeRCUMigrated: a CPU of another node takes no object of the old CPU's node.
func TestFreeRCUMigrated(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 0, spare: none}) // or it adopts the barn's under its lock
	p := r.take(1)[0]
	r.onBarnOf = func() { r.moveTo(1) }
	if r.TryFreeRCU(p, 0, MayWait) {
		t.Error("CPU 1 took an object of node 0")
	}
	r.expectRCU(none, 0)
	r.cpu = 0
	r.expect(state{main: 0, spare: none, empty: 1}, events{FreeRCUSheafFail: 1, SheafAlloc: 1})
	r.expectRCU(none, 0)
}

// TestFreeRCUFills: a sheaf is started by the object that fills it, by no other, and every object
// counts once.
func TestFreeRCUFills(t *testing.T) {
	for _, capacity := range []int{1, 2, 4} {
		r := newRigOf(t, 1, func(c *Config) { c.Capacity = capacity })
		r.reader()
		for n := 1; n <= 3*capacity; n++ {
			r.freeRCU(1)
			left := n % capacity
			if left == 0 {
				left = none
			}
			r.expectRCU(left, n/capacity)
			if got := r.Stats().Events[FreeRCUSheaf]; got != uint64(n) {
				t.Errorf("%d objects counted of %d", got, n)
			}
			if got := r.Stats().RCUObjects + r.Stats().Barns[0].WaitingObjects; got != uint64(n) {
				t.Errorf("%d objects wait, want %d", got, n)
			}
		}
	}
}
