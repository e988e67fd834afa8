package sheaves

import (
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

func allocNoWait(r *rig) bool {
	p := r.AllocNoWait()
	r.got(p)
	return p != nil
}

// TestAllocNoWait is TestAlloc as far as it goes: nothing is refilled, nothing expired.
func TestAllocNoWait(t *testing.T) {
	run(t, []walk{
		{name: "from main", before: state{2, none, 0, 0}, after: state{1, none, 0, 0}},
		{name: "full spare", before: state{0, 4, 1, 0}, after: state{3, 0, 1, 0}},
		{name: "barn, no spare", before: state{0, none, 1, 0}, after: state{3, none, 0, 1},
			counted: events{BarnGet: 1}},
		{name: "barn, empty spare", before: state{0, 0, 2, 2}, after: state{3, 0, 1, 3},
			counted: events{BarnGet: 1}},
		{name: "nothing", before: state{0, 0, 0, 2}, refused: true, after: state{0, 0, 0, 2},
			counted: events{BarnGetFail: 1}},
		{name: "closed", before: state{0, none, 0, 0}, prepare: func(r *rig) { r.Close(); r.start = r.Stats().Events },
			refused: true, after: state{none, none, 0, 0}},
	}, nil, allocNoWait)
}

// TestAllocNoWaitHeld: locks that somebody has are not waited for.
func TestAllocNoWaitHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, 0, 2, 0})
	r.barns[0].mu.Lock()
	got := allocNoWait(r)
	r.barns[0].mu.Unlock()
	if got {
		t.Error("an object came from a barn that somebody was changing")
	}
	r.expect(state{0, 0, 2, 0}, events{BarnGetFail: 1})
	st := r.hold(percpu.Main)
	got = allocNoWait(r)
	st.Unlock()
	if got {
		t.Error("an object came from a held stack")
	}
	r.expect(state{0, 0, 2, 0}, events{BarnGetFail: 1})
	if !allocNoWait(r) {
		t.Error("no object from open locks")
	}
	r.expect(state{3, 0, 1, 1}, events{BarnGetFail: 1, BarnGet: 1})
}
