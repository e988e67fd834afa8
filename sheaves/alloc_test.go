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

// run runs walks of an operation that reports whether it succeeded. hook is where meanwhile goes.
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
	p := r.TryAlloc()
	r.got(p)
	return p != nil
}

func onRefill(s *source) *func() { return &s.onRefill }

// TestAlloc covers the walk up to the refill (kernel: alloc_from_pcs, __pcs_replace_empty_main).
func TestAlloc(t *testing.T) {
	run(t, []walk{
		{name: "from main", before: state{main: 2, spare: none}, after: state{main: 1, spare: none}},
		{name: "full spare", before: state{main: 0, spare: 4, full: 1},
			after: state{main: 1, spare: 2, full: 1}},
		{name: "partly full spare", before: state{main: 0, spare: 2}, after: state{main: 1, spare: 0}},
		{name: "barn, no spare", before: state{main: 0, spare: none, full: 1},
			after:   state{main: 3, spare: none, empty: 1},
			counted: events{BarnGet: 1}},
		{name: "barn, empty spare", before: state{main: 0, spare: 0, full: 2},
			after:   state{main: 3, spare: 0, full: 1, empty: 1},
			counted: events{BarnGet: 1}},
		{name: "barn beyond its limit of empty sheaves", before: state{main: 0, spare: 0, full: 1, empty: 2},
			after:   state{main: 3, spare: 0, empty: 3},
			counted: events{BarnGet: 1}},
		{name: "refill of the empty spare", before: state{main: 0, spare: 0, empty: 1},
			after:   state{main: 3, spare: 0, empty: 1},
			counted: events{BarnGetFail: 1, SheafRefill: 4}},
		{name: "refill of the barn's empty", before: state{main: 0, spare: none, empty: 2},
			after:   state{main: 3, spare: 0, empty: 1},
			counted: events{BarnGetFail: 1, SheafRefill: 4}},
		{name: "refill of a new sheaf", before: state{main: 0, spare: none}, after: state{main: 3, spare: 0},
			counted: events{BarnGetFail: 1, SheafRefill: 4, SheafAlloc: 1}},
		{name: "short refill is given up with what it got", before: state{main: 0, spare: none},
			prepare: func(r *rig) { r.src.short = 1 }, refused: true, after: state{main: 0, spare: none},
			counted: events{BarnGetFail: 1, SheafRefill: 3, SheafFlush: 3, SheafAlloc: 1, SheafFree: 1}},
		{name: "no memory for a sheaf", before: state{main: 0, spare: none}, prepare: (*rig).outOfMemory,
			refused: true, after: state{main: 0, spare: none}, counted: events{BarnGetFail: 1}},
		{name: "closed", before: state{main: 0, spare: none}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{main: none, spare: none}},
	}, nil, alloc)
}

// TestAllocRelock: what the walk finds when it comes back with a refilled sheaf. It left with the
// barn's empty one.
func TestAllocRelock(t *testing.T) {
	before := state{main: 0, spare: none, empty: 1}
	counted := events{BarnGetFail: 1, SheafRefill: 4}
	stowed := events{BarnGetFail: 1, SheafRefill: 4, BarnPut: 1}
	run(t, []walk{
		{name: "main empty, no spare", before: before, after: state{main: 3, spare: 0}, counted: counted},
		{name: "main empty, empty spare", before: before,
			after: state{main: 3, spare: 0, empty: 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{main: 0, spare: 0}) }},
		{name: "main empty, full spare, barn's empties at their limit", before: before,
			after:   state{main: 3, spare: 4, empty: 3},
			counted: counted, meanwhile: func(r *rig) { r.arrange(state{main: 0, spare: 4, empty: 2}) }},
		{name: "no spare", before: before, after: state{main: 1, spare: 4}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{main: 2, spare: none}) }},
		{name: "empty spare", before: before, after: state{main: 1, spare: 4, empty: 1}, counted: counted,
			meanwhile: func(r *rig) { r.arrange(state{main: 2, spare: 0}) }},
		{name: "nothing missing, barn's full ones at their limit", before: before,
			after:   state{main: 1, spare: 2, full: 3},
			counted: stowed, meanwhile: func(r *rig) { r.arrange(state{main: 2, spare: 2, full: 2}) }},
		{name: "closed", before: before, refused: true, after: state{main: none, spare: none},
			counted:   events{BarnGetFail: 1, SheafRefill: 4, BarnPut: 1, SheafFlush: 4, SheafFree: percpu.NumCPU() + 1},
			meanwhile: (*rig).Close},
	}, onRefill, alloc)
}

// TestAllocRelockHeld: the lock is not waited for; the refilled sheaf goes to the barn.
func TestAllocRelockHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none, empty: 1})
	var st *percpu.Stack
	r.src.onRefill = func() { st = r.hold(percpu.Main) }
	if alloc(r) {
		t.Error("an object came from a held stack")
	}
	st.Unlock()
	r.expect(state{main: 0, spare: none, full: 1}, events{BarnGetFail: 1, SheafRefill: 4, BarnPut: 1})
}

// TestAllocRelockBarnHeld: the barn's mutex is only tried under the stack's lock, and waited for
// after it. Main may be empty by then.
func TestAllocRelockBarnHeld(t *testing.T) {
	for name, objects := range map[string]int{"main still has some": 2, "main is empty": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 0, spare: none})
			done := make(chan struct{})
			r.src.onRefill = func() {
				r.setMain(2)
				r.setSpare(0)
				r.barns[0].mu.Lock()
				go func() {
					defer close(done)
					defer r.barns[0].mu.Unlock()
					// A snapshot waits for the stack's lock. Once it shows the new spare, the walk
					// has tried the barn's mutex in vain and released the stack.
					eventually(t, "the refilled sheaf is the spare", func() bool {
						return r.slots.Snapshot(0, percpu.Main).Spare == 4
					})
					r.setMain(objects)
				}()
			}
			r.within("Alloc", func() {
				if p := r.TryAllocNode(0); (p != nil) != (objects > 0) {
					t.Errorf("allocated %v", p)
				} else {
					r.got(p)
				}
			})
			<-done
			r.expect(state{main: max(objects-1, 0), spare: 4, empty: 1}, events{BarnGetFail: 1, SheafRefill: 4, SheafAlloc: 1})
		})
	}
}

// TestAllocMigrated: the walk comes back on another node's CPU. What it brings goes to the barn
// that it was filled for, and that CPU's sheaves are not for this walk.
func TestAllocMigrated(t *testing.T) {
	r := newRig(t, 2)
	r.arrange(state{main: 0, spare: none, empty: 1})
	r.src.onRefill = func() {
		r.moveTo(1)
		r.setMain(2)
		r.setSpare(2)
	}
	if alloc(r) {
		t.Error("an object came from another node's CPU")
	}
	if got, want := r.state(), (state{main: 2, spare: 2}); got != want {
		t.Errorf("CPU 1: %+v, want %+v", got, want)
	}
	r.cpu = 0
	r.expect(state{main: 0, spare: none, full: 1}, events{BarnGetFail: 1, SheafRefill: 4, BarnPut: 1})
}

// TestAllocHeld: a stack's lock is not waited for, and nothing is counted.
func TestAllocHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 2, spare: 2, full: 1})
	st := r.hold(percpu.Main)
	if alloc(r) || r.TryAllocNode(0) != nil {
		t.Error("an object came from a held stack")
	}
	st.Unlock()
	r.expect(state{main: 2, spare: 2, full: 1}, nil)
}

// TestAllocNode: only objects of the wanted node leave, and without Others only from its CPUs.
func TestAllocNode(t *testing.T) {
	r := newRigOf(t, 2, noOthers)
	r.arrange(state{main: 0, spare: none, full: 1})
	if p := r.TryAllocNode(1); p != nil {
		t.Errorf("CPU 0 gave %v for node 1", p)
	}
	r.expect(state{main: 0, spare: none, full: 1}, events{AllocNodeMismatch: 1})
	if p := r.TryAllocNode(0); p == nil || nodeOf(p) != 0 {
		t.Errorf("got %v for node 0", p)
	} else {
		r.got(p)
	}
	r.expect(state{main: 3, spare: none, empty: 1}, events{AllocNodeMismatch: 1, BarnGet: 1})

	// An object that a refill brought from another node stays where it is.
	remote := r.src.take(1, 1)
	st := r.hold(percpu.Main)
	st.PushN(remote)
	st.Unlock()
	if p := r.TryAllocNode(0); p != nil {
		t.Errorf("got %v for node 0", p)
	}
	r.expect(state{main: 4, spare: none, empty: 1}, events{AllocNodeMismatch: 2, BarnGet: 1})
	if p := r.TryAlloc(); p != remote[0] {
		t.Errorf("got %v, want the top object %v", p, remote[0])
	}
	r.got(remote...)
}

// TestPartialRefillLosesNothing: When memory ran out halfway through a refill, the kernel freed the
// sheaf with the objects that it had got. Here every walk that fills a sheaf gives them back.
func TestPartialRefillLosesNothing(t *testing.T) {
	for name, refill := range map[string]func(*rig) (got bool){
		"Alloc":          func(r *rig) bool { return r.TryAlloc() != nil },
		"AllocNode":      func(r *rig) bool { return r.TryAllocNode(0) != nil },
		"Prefill":        func(r *rig) bool { _, err := r.Prefill(3); return err == nil },
		"Prefill beyond": func(r *rig) bool { _, err := r.Prefill(9); return err == nil },
		"Return": func(r *rig) bool {
			l := Loan{sh: r.sheafWith(2)}
			r.setSpare(1) // the sheaf would go in its place
			r.Return(l)
			r.setSpare(none)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.arrange(state{main: 0, spare: none, empty: 1})
			r.src.short = 2
			if refill(r) {
				t.Error("succeeded with less than it needs")
			}
			if n := r.src.away(); n != 0 {
				t.Errorf("%d objects are lost", n)
			}
		})
	}
}
