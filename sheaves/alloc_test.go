package sheaves

import (
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

// A walk is one operation from one state to another.
type walk struct {
	name      string
	before    state
	prepare   func(*rig) // after before
	meanwhile func(*rig) // while the walk is in the Source, without any lock
	refused   bool
	after     state
	counted   events
}

// run runs walks of an operation that reports whether it succeeded. hook is where
// meanwhile goes.
func run(t *testing.T, walks []walk, hook func(*source) *func(), operation func(*rig) bool) {
	for _, w := range walks {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(w.before)
			if w.prepare != nil {
				w.prepare(r)
			}
			if w.meanwhile != nil {
				*hook(r.src) = func() { start := r.start; w.meanwhile(r); r.start = start }
			}
			if ok := operation(r); ok == w.refused {
				t.Errorf("returned %v", ok)
			}
			r.expect(w.after, w.counted)
		})
	}
}

func alloc(r *rig) bool {
	p := r.Alloc()
	r.got(p)
	return p != nil
}

func onRefill(s *source) *func() { return &s.onRefill }

// TestAlloc covers the walk up to the refill (kernel: alloc_from_pcs,
// __pcs_replace_empty_main).
func TestAlloc(t *testing.T) {
	run(t, []walk{
		{name: "from main", before: state{2, none, 0, 0}, after: state{1, none, 0, 0}},
		{name: "full spare", before: state{0, 4, 1, 0}, after: state{3, 0, 1, 0}},
		{name: "partly full spare", before: state{0, 2, 0, 0}, after: state{1, 0, 0, 0}},
		{name: "barn, no spare", before: state{0, none, 1, 0}, after: state{3, none, 0, 1},
			counted: events{BarnGet: 1}},
		{name: "barn, empty spare", before: state{0, 0, 2, 0}, after: state{3, 0, 1, 1},
			counted: events{BarnGet: 1}},
		{name: "barn beyond its limit of empty sheaves", before: state{0, 0, 1, 2}, after: state{3, 0, 0, 3},
			counted: events{BarnGet: 1}},
		{name: "refill of the empty spare", before: state{0, 0, 0, 1}, after: state{3, 0, 0, 1},
			counted: events{BarnGetFail: 1, Refilled: 4}},
		{name: "refill of the barn's empty", before: state{0, none, 0, 2}, after: state{3, 0, 0, 1},
			counted: events{BarnGetFail: 1, Refilled: 4}},
		{name: "refill of a new sheaf", before: state{0, none, 0, 0}, after: state{3, 0, 0, 0},
			counted: events{BarnGetFail: 1, Refilled: 4, SheafAlloc: 1}},
		{name: "short refill is given up with what it got", before: state{0, none, 0, 0},
			prepare: func(r *rig) { r.src.short = 1 }, refused: true, after: state{0, none, 0, 0},
			counted: events{BarnGetFail: 1, Refilled: 3, Flushed: 3, SheafAlloc: 1, SheafFree: 1}},
		{name: "no memory for a sheaf", before: state{0, none, 0, 0}, prepare: (*rig).outOfMemory,
			refused: true, after: state{0, none, 0, 0}, counted: events{BarnGetFail: 1}},
		{name: "closed", before: state{0, none, 0, 0}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{none, none, 0, 0}},
	}, nil, alloc)
}

// TestAllocRelock covers 2.2 h: what the walk finds when it comes back with a refilled
// sheaf. It left with the barn's empty one.
func TestAllocRelock(t *testing.T) {
	before := state{0, none, 0, 1}
	counted := events{BarnGetFail: 1, Refilled: 4}
	stowed := events{BarnGetFail: 1, Refilled: 4, BarnPut: 1}
	run(t, []walk{
		{name: "main empty, no spare", before: before, after: state{3, 0, 0, 0}, counted: counted},
		{name: "main empty, empty spare", before: before, after: state{3, 0, 0, 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{0, 0, 0, 0}) }},
		{name: "main empty, full spare, barn's empties at their limit", before: before, after: state{3, 4, 0, 3},
			counted: counted, meanwhile: func(r *rig) { r.arrange(state{0, 4, 0, 2}) }},
		{name: "no spare", before: before, after: state{1, 4, 0, 0}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{2, none, 0, 0}) }},
		{name: "empty spare", before: before, after: state{1, 4, 0, 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{2, 0, 0, 0}) }},
		{name: "nothing missing, barn's full ones at their limit", before: before, after: state{1, 2, 3, 0},
			counted: stowed, meanwhile: func(r *rig) { r.arrange(state{2, 2, 2, 0}) }},
		{name: "closed", before: before, refused: true, after: state{none, none, 0, 0},
			counted:   events{BarnGetFail: 1, Refilled: 4, BarnPut: 1, Flushed: 4, SheafFree: percpu.NumCPU() + 1},
			meanwhile: (*rig).Close},
	}, onRefill, alloc)
}

// TestAllocRelockHeld: the lock is not waited for; the refilled sheaf goes to the barn.
func TestAllocRelockHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 0, 1})
	var st *percpu.Stack
	r.src.onRefill = func() { st = r.hold(percpu.Main) }
	if alloc(r) {
		t.Error("an object came from a held stack")
	}
	st.Unlock()
	r.expect(state{0, none, 1, 0}, events{BarnGetFail: 1, Refilled: 4, BarnPut: 1})
}

// TestAllocRelockBarnHeld: the barn's mutex is only tried under the stack's lock, and
// waited for after it. Somebody may have emptied main by then.
func TestAllocRelockBarnHeld(t *testing.T) {
	for name, objects := range map[string]int{"main still has some": 2, "main is empty": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{0, none, 0, 0})
			done := make(chan struct{})
			r.src.onRefill = func() {
				r.setMain(2)
				r.setSpare(0)
				r.barns[0].mu.Lock()
				go func() {
					defer close(done)
					defer r.barns[0].mu.Unlock()
					// A snapshot waits for the lock: once it shows the new spare, the
					// walk has given up the barn's mutex and let go of the stack.
					eventually(t, "the refilled sheaf is the spare", func() bool {
						return r.Slots.Snapshot(0, percpu.Main).Spare == 4
					})
					r.setMain(objects)
				}()
			}
			r.within("Alloc", func() {
				if p := r.AllocNode(0); (p != nil) != (objects > 0) {
					t.Errorf("allocated %v", p)
				} else {
					r.got(p)
				}
			})
			<-done
			r.expect(state{max(objects-1, 0), 4, 0, 1}, events{BarnGetFail: 1, Refilled: 4, SheafAlloc: 1})
		})
	}
}

// TestAllocMigrated: the walk comes back on another node's CPU, uses what it brings
// there, and gives the rest to the barn it filled it for.
func TestAllocMigrated(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{0, none, 0, 1})
	r.src.onRefill = func() {
		r.moveTo(1)
		r.setMain(2)
		r.setSpare(2)
	}
	if !alloc(r) {
		t.Error("no object")
	}
	if got, want := r.state(), (state{1, 2, 0, 0}); got != want {
		t.Errorf("CPU 1: %+v, want %+v", got, want)
	}
	r.cpu = 0
	r.expect(state{0, none, 1, 0}, events{BarnGetFail: 1, Refilled: 4, BarnPut: 1})
}

// TestAllocHeld: nobody waits for a stack's lock, and nothing is counted.
func TestAllocHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{2, 2, 1, 0})
	st := r.hold(percpu.Main)
	if alloc(r) || r.AllocNode(0) != nil {
		t.Error("an object came from a held stack")
	}
	st.Unlock()
	r.expect(state{2, 2, 1, 0}, nil)
}

// TestAllocNode: only objects of the wanted node leave, and only from its CPUs.
func TestAllocNode(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{0, none, 1, 0})
	if p := r.AllocNode(1); p != nil {
		t.Errorf("CPU 0 gave %v for node 1", p)
	}
	r.expect(state{0, none, 1, 0}, events{NodeMismatch: 1})
	if p := r.AllocNode(0); p == nil || nodeOf(p) != 0 {
		t.Errorf("got %v for node 0", p)
	} else {
		r.got(p)
	}
	r.expect(state{3, none, 0, 1}, events{NodeMismatch: 1, BarnGet: 1})

	// A refill from afar: the object stays where it is.
	remote := r.src.take(1, 1)
	st := r.hold(percpu.Main)
	st.PushN(remote)
	st.Unlock()
	if p := r.AllocNode(0); p != nil {
		t.Errorf("got %v for node 0", p)
	}
	r.expect(state{4, none, 0, 1}, events{NodeMismatch: 2, BarnGet: 1})
	if p := r.Alloc(); p != remote[0] {
		t.Errorf("got %v, want the top object %v", p, remote[0])
	}
	r.got(remote...)
}
