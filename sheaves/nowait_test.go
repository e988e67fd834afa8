package sheaves

import (
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

func allocNoWait(r *rig) bool {
	p := r.TryAllocNoWait()
	r.got(p)
	return p != nil
}

// TestAllocNoWait has the cases of TestAlloc that need neither a refill nor a ready sheaf.
func TestAllocNoWait(t *testing.T) {
	run(t, []walk{
		{name: "from main", before: state{main: 2, spare: none}, after: state{main: 1, spare: none}},
		{name: "full spare", before: state{main: 0, spare: 4, full: 1},
			after: state{main: 1, spare: 2, full: 1}},
		{name: "barn, no spare", before: state{main: 0, spare: none, full: 1},
			after:   state{main: 3, spare: none, empty: 1},
			counted: events{BarnGet: 1}},
		{name: "barn, empty spare", before: state{main: 0, spare: 0, full: 2, empty: 2},
			after:   state{main: 3, spare: 0, full: 1, empty: 3},
			counted: events{BarnGet: 1}},
		{name: "nothing", before: state{main: 0, spare: 0, empty: 2}, refused: true,
			after:   state{main: 0, spare: 0, empty: 2},
			counted: events{BarnGetFail: 1}},
		{name: "closed", before: state{main: 0, spare: none}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{main: none, spare: none}},
	}, nil, allocNoWait)
}

// TestAllocNoWaitHeld: locks that are held are not waited for.
func TestAllocNoWaitHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: 0, full: 2})
	r.barns[0].mu.Lock()
	got := allocNoWait(r)
	r.barns[0].mu.Unlock()
	if got {
		t.Error("an object came from a barn whose mutex is held")
	}
	r.expect(state{main: 0, spare: 0, full: 2}, events{BarnGetFail: 1})
	st := r.hold(percpu.Main)
	got = allocNoWait(r)
	st.Unlock()
	if got {
		t.Error("an object came from a held stack")
	}
	r.expect(state{main: 0, spare: 0, full: 2}, events{BarnGetFail: 1})
	if !allocNoWait(r) {
		t.Error("no object from open locks")
	}
	r.expect(state{main: 3, spare: 0, full: 1, empty: 1}, events{BarnGetFail: 1, BarnGet: 1})
}
