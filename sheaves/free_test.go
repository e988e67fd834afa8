package sheaves

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

func free(r *rig) bool {
	p := r.take(1)[0]
	ok := r.TryFree(p, r.homes.Index(r.cpu))
	if ok {
		r.gone(p)
	}
	return ok
}

func onFlush(s *source) *func() { return &s.onFlush }

// TestFree covers the walk on a full main sheaf (kernel: free_to_pcs, __pcs_replace_full_main).
func TestFree(t *testing.T) {
	run(t, []walk{
		{name: "to main", before: state{main: 2, spare: none}, after: state{main: 3, spare: none}},
		{name: "no spare, barn has an empty", before: state{main: 4, spare: none, empty: 2},
			after: state{main: 1, spare: 4, empty: 1}},
		{name: "empty spare", before: state{main: 4, spare: 0, empty: 1},
			after: state{main: 3, spare: 2, empty: 1}},
		{name: "partly full spare", before: state{main: 4, spare: 3, full: 2},
			after: state{main: 4, spare: 4, full: 2}},
		{name: "barn", before: state{main: 4, spare: 4, full: 1, empty: 1},
			after: state{main: 1, spare: 4, full: 2}, counted: events{BarnPut: 1}},
		{name: "barn has too many", before: state{main: 4, spare: 4, full: 2, empty: 1},
			after:   state{main: 1, spare: 4, full: 2, empty: 1},
			counted: events{BarnPutFail: 1, SheafFlush: 4}},
		{name: "barn has no empty", before: state{main: 4, spare: 4, full: 1},
			after:   state{main: 1, spare: 4, full: 2},
			counted: events{BarnPut: 1, SheafAlloc: 1}},
		{name: "no spare, barn has nothing", before: state{main: 4, spare: none},
			after:   state{main: 1, spare: 4},
			counted: events{SheafAlloc: 1}},
		{name: "barn has no empty, no memory", before: state{main: 4, spare: 4}, prepare: (*rig).outOfMemory,
			after: state{main: 1, spare: 4}, counted: events{BarnPutFail: 1, SheafFlush: 4}},
		{name: "no spare, no memory", before: state{main: 4, spare: none}, prepare: (*rig).outOfMemory,
			after: state{main: 1, spare: none}, counted: events{SheafFlush: 4}},
		{name: "closed", before: state{main: 4, spare: 4}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{main: none, spare: none}},
	}, onFlush, free)
}

// TestFreeRelock: what the walk finds when it comes back with an empty sheaf, here the spare that
// it has flushed.
func TestFreeRelock(t *testing.T) {
	before := state{main: 4, spare: 4, full: 2}
	counted := events{BarnPutFail: 1, SheafFlush: 4}
	stowed := events{BarnPutFail: 1, SheafFlush: 4, BarnPut: 1}
	run(t, []walk{
		{name: "main has room again", before: before,
			after: state{main: 3, spare: 1, full: 2, empty: 3}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{main: 2, spare: 1, full: 2, empty: 2}) }},
		{name: "spare has room", before: before,
			after: state{main: 3, spare: 4, full: 2, empty: 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{main: 4, spare: 2, full: 2}) }},
		{name: "both full, barn's full ones at their limit", before: before,
			after:   state{main: 1, spare: 4, full: 3},
			counted: stowed, meanwhile: func(r *rig) { r.arrange(state{main: 4, spare: 4, full: 2}) }},
		{name: "closed", before: before, refused: true, after: state{main: none, spare: none},
			counted:   events{BarnPutFail: 1, SheafFlush: 4 + 4 + 2*4, SheafFree: 1 + percpu.NumCPU() + 2},
			meanwhile: (*rig).Close},
	}, onFlush, free)
}

// TestFreeKeepsTheHottest: when the barn is full the spare is flushed, not main.
func TestFreeKeepsTheHottest(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4, full: 2})
	st := r.hold(percpu.Main)
	spare := slices.Clone(sheafOf(st.Spare).objects())
	st.Unlock()
	if !free(r) {
		t.Error("refused")
	}
	if !slices.Equal(r.src.flushed, spare) {
		t.Errorf("flushed %v, want the spare's %v", r.src.flushed, spare)
	}
}

// TestFreeRelockHeld: the lock is not waited for; the empty sheaf goes to the barn.
func TestFreeRelockHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4, full: 2})
	var st *percpu.Stack
	r.src.onFlush = func() { st = r.hold(percpu.Main) }
	if free(r) {
		t.Error("a held stack took an object")
	}
	st.Unlock()
	r.expect(state{main: 4, spare: none, full: 2, empty: 1}, events{BarnPutFail: 1, SheafFlush: 4})
}

// TestFreeRelockBarnHeld: the barn's mutex is only tried under the stack's lock.
func TestFreeRelockBarnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4, full: 2})
	done := make(chan struct{})
	r.src.onFlush = func() {
		r.setSpare(2)
		r.barns[0].mu.Lock()
		go func() {
			defer close(done)
			defer r.barns[0].mu.Unlock()
			eventually(t, "main and spare are swapped", func() bool {
				return r.slots.Snapshot(0, percpu.Main).Spare == 4
			})
		}()
	}
	r.within("Free", func() {
		if free(r) {
			t.Error("the object was taken without the lock")
		}
	})
	<-done
	r.expect(state{main: 2, spare: 4, full: 2, empty: 1}, events{BarnPutFail: 1, SheafFlush: 4})
}

// TestFreeMigrated: a CPU of another node takes nothing of this one's, at the start of a walk and
// at its end.
func TestFreeMigrated(t *testing.T) {
	r := newRigOf(t, 2, noOthers)
	r.arrange(state{main: 2, spare: none})
	if p := r.take(1)[0]; r.TryFree(p, 1) {
		t.Error("CPU 0 took an object of node 1")
	}
	r.expect(state{main: 2, spare: none}, nil)

	r.arrange(state{main: 4, spare: 4, full: 2})
	r.src.onFlush = func() { r.moveTo(1) }
	p := r.take(1)[0]
	if r.TryFree(p, 0) {
		t.Error("CPU 1 took an object of node 0")
	}
	if got, want := r.state(), (state{main: 0, spare: none}); got != want {
		t.Errorf("CPU 1: %+v, want %+v", got, want)
	}
	r.cpu = 0
	r.expect(state{main: 4, spare: none, full: 2, empty: 1}, events{BarnPutFail: 1, SheafFlush: 4})
}

// TestFreeMigratedWithoutMemory: the same after main was flushed in place.
func TestFreeMigratedWithoutMemory(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 4, spare: none})
	r.outOfMemory()
	r.src.onFlush = func() { r.moveTo(1) }
	p := r.take(1)[0]
	if r.TryFree(p, 0) {
		t.Error("CPU 1 took an object of node 0")
	}
	r.cpu = 0
	r.expect(state{main: 0, spare: none}, events{SheafFlush: 4})
}

// TestFreeHeld: a stack's lock is not waited for, and nothing is counted.
func TestFreeHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: 4, full: 2, empty: 1})
	st := r.hold(percpu.Main)
	if free(r) {
		t.Error("a held stack took an object")
	}
	// Without memory there is no other way than to flush main, which is held.
	if got := r.makeRoom(own(0)); got != nil {
		t.Error("made room in a held stack")
	}
	st.Unlock()
	r.expect(state{main: 4, spare: 4, full: 2, empty: 1}, nil)
}

// TestFreeWithoutMemoryHeld: main's lock is held when main has been flushed.
func TestFreeWithoutMemoryHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 4, spare: none})
	r.outOfMemory()
	var st *percpu.Stack
	r.src.onFlush = func() { st = r.hold(percpu.Main) }
	if free(r) {
		t.Error("a held stack took an object")
	}
	st.Unlock()
	r.expect(state{main: 0, spare: none}, events{SheafFlush: 4})
}

// TestOrder: main and the barn are last in, first out; the spare comes between them.
func TestOrder(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none, empty: 2})
	objs := r.take(16)
	for _, p := range objs {
		if !r.TryFree(p, 0) {
			t.Fatal("refused")
		}
	}
	r.gone(objs...)
	r.expect(state{main: 4, spare: 4, full: 2}, events{BarnPut: 2, SheafAlloc: 1})
	for _, i := range []int{15, 14, 13, 12, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 5, 4} {
		p := r.TryAlloc()
		r.got(p)
		if p != objs[i] {
			t.Errorf("got %v, want %v, freed as number %d", p, objs[i], i)
		}
	}
}
