package sheaves

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

func free(r *rig) bool {
	p := r.take(1)[0]
	ok := r.Free(p, r.Own(r.NodeOfCPU(r.cpu)))
	if ok {
		r.gone(p)
	}
	return ok
}

func onFlush(s *source) *func() { return &s.onFlush }

// TestFree covers the walk on a full main sheaf (kernel: free_to_pcs,
// __pcs_replace_full_main).
func TestFree(t *testing.T) {
	run(t, []walk{
		{name: "to main", before: state{2, none, 0, 0}, after: state{3, none, 0, 0}},
		{name: "no spare, barn has an empty", before: state{4, none, 0, 2}, after: state{1, 4, 0, 1}},
		{name: "empty spare", before: state{4, 0, 0, 1}, after: state{1, 4, 0, 1}},
		{name: "partly full spare", before: state{4, 3, 2, 0}, after: state{4, 4, 2, 0}},
		{name: "barn", before: state{4, 4, 1, 1}, after: state{1, 4, 2, 0}, counted: events{BarnPut: 1}},
		{name: "barn has too many", before: state{4, 4, 2, 1}, after: state{1, 4, 2, 1},
			counted: events{BarnPutFail: 1, Flushed: 4}},
		{name: "barn has no empty", before: state{4, 4, 1, 0}, after: state{1, 4, 2, 0},
			counted: events{BarnPut: 1, SheafAlloc: 1}},
		{name: "no spare, barn has nothing", before: state{4, none, 0, 0}, after: state{1, 4, 0, 0},
			counted: events{SheafAlloc: 1}},
		{name: "barn has no empty, no memory", before: state{4, 4, 0, 0}, prepare: (*rig).outOfMemory,
			after: state{1, 4, 0, 0}, counted: events{BarnPutFail: 1, Flushed: 4}},
		{name: "no spare, no memory", before: state{4, none, 0, 0}, prepare: (*rig).outOfMemory,
			after: state{1, none, 0, 0}, counted: events{Flushed: 4}},
		{name: "closed", before: state{4, 4, 0, 0}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{none, none, 0, 0}},
	}, onFlush, free)
}

// TestFreeRelock covers 2.6 f: what the walk finds when it comes back with an empty
// sheaf, here the spare that it has flushed.
func TestFreeRelock(t *testing.T) {
	before := state{4, 4, 2, 0}
	counted := events{BarnPutFail: 1, Flushed: 4}
	stowed := events{BarnPutFail: 1, Flushed: 4, BarnPut: 1}
	run(t, []walk{
		{name: "main has room again", before: before, after: state{3, 1, 2, 3}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{2, 1, 2, 2}) }},
		{name: "spare has room", before: before, after: state{3, 4, 2, 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{4, 2, 2, 0}) }},
		{name: "both full, barn's full ones at their limit", before: before, after: state{1, 4, 3, 0},
			counted: stowed, meanwhile: func(r *rig) { r.arrange(state{4, 4, 2, 0}) }},
		{name: "closed", before: before, refused: true, after: state{none, none, 0, 0},
			counted:   events{BarnPutFail: 1, Flushed: 4 + 4 + 2*4, SheafFree: 1 + percpu.NumCPU() + 2},
			meanwhile: (*rig).Close},
	}, onFlush, free)
}

// TestFreeKeepsTheHottest: what goes when the barn is full is the spare, not main.
func TestFreeKeepsTheHottest(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, 4, 2, 0})
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
	r.arrange(state{4, 4, 2, 0})
	var st *percpu.Stack
	r.src.onFlush = func() { st = r.hold(percpu.Main) }
	if free(r) {
		t.Error("a held stack took an object")
	}
	st.Unlock()
	r.expect(state{4, none, 2, 1}, events{BarnPutFail: 1, Flushed: 4})
}

// TestFreeRelockBarnHeld: the barn's mutex is only tried under the stack's lock.
func TestFreeRelockBarnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, 4, 2, 0})
	done := make(chan struct{})
	r.src.onFlush = func() {
		r.setSpare(2)
		r.barns[0].mu.Lock()
		go func() {
			defer close(done)
			defer r.barns[0].mu.Unlock()
			eventually(t, "main and spare are swapped", func() bool {
				return r.Slots.Snapshot(0, percpu.Main).Spare == 4
			})
		}()
	}
	r.within("Free", func() {
		if free(r) {
			t.Error("the object was taken without the lock")
		}
	})
	<-done
	r.expect(state{2, 4, 2, 1}, events{BarnPutFail: 1, Flushed: 4})
}

// TestFreeMigrated: a CPU of another node takes nothing of this one's, at the start of
// a walk and at its end.
func TestFreeMigrated(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{2, none, 0, 0})
	if p := r.take(1)[0]; r.Free(p, own(1)) {
		t.Error("CPU 0 took an object of node 1")
	}
	r.expect(state{2, none, 0, 0}, nil)

	r.arrange(state{4, 4, 2, 0})
	r.src.onFlush = func() { r.moveTo(1) }
	p := r.take(1)[0]
	if r.Free(p, own(0)) {
		t.Error("CPU 1 took an object of node 0")
	}
	if got, want := r.state(), (state{0, none, 0, 0}); got != want {
		t.Errorf("CPU 1: %+v, want %+v", got, want)
	}
	r.cpu = 0
	r.expect(state{4, none, 2, 1}, events{BarnPutFail: 1, Flushed: 4})
}

// TestFreeMigratedWithoutMemory: the same after main was flushed in place.
func TestFreeMigratedWithoutMemory(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{4, none, 0, 0})
	r.outOfMemory()
	r.src.onFlush = func() { r.moveTo(1) }
	p := r.take(1)[0]
	if r.Free(p, own(0)) {
		t.Error("CPU 1 took an object of node 0")
	}
	r.cpu = 0
	r.expect(state{0, none, 0, 0}, events{Flushed: 4})
}

// TestFreeHeld: nobody waits for a stack's lock, and nothing is counted.
func TestFreeHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, 4, 2, 1})
	st := r.hold(percpu.Main)
	if free(r) {
		t.Error("a held stack took an object")
	}
	// Without memory there is no other way than to flush main, which is held.
	if got := r.makeRoom(own(0)); got != nil {
		t.Error("made room in a held stack")
	}
	st.Unlock()
	r.expect(state{4, 4, 2, 1}, nil)
}

// TestFreeWithoutMemoryHeld: somebody else holds main when it has been flushed.
func TestFreeWithoutMemoryHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{4, none, 0, 0})
	r.outOfMemory()
	var st *percpu.Stack
	r.src.onFlush = func() { st = r.hold(percpu.Main) }
	if free(r) {
		t.Error("a held stack took an object")
	}
	st.Unlock()
	r.expect(state{0, none, 0, 0}, events{Flushed: 4})
}

// TestOrder: main and the barn are last in, first out; the spare comes between them.
func TestOrder(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 0, 2})
	objs := r.take(16)
	for _, p := range objs {
		if !r.Free(p, own(0)) {
			t.Fatal("refused")
		}
	}
	r.gone(objs...)
	r.expect(state{4, 4, 2, 0}, events{BarnPut: 2, SheafAlloc: 1})
	for _, i := range []int{15, 14, 13, 12, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 5, 4} {
		p := r.Alloc()
		r.got(p)
		if p != objs[i] {
			t.Errorf("got %v, want %v, freed as number %d", p, objs[i], i)
		}
	}
}
