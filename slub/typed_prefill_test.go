package slub_test

import (
	"testing"

	"github.com/slubd/slubd/slub"
)

// A prefilled sheaf of a Typed gives and takes back Ts as that of its Cache does.
func TestTypedPrefill(t *testing.T) {
	typed, err := slub.NewTyped[point](newArena(t, smallArena), slub.Config{})
	same(t, "NewTyped", err, nil)
	pre, err := typed.Prefill(10)
	same(t, "Prefill", err, nil)
	had := pre.Len()
	p := pre.Alloc()
	if had < 10 || p == nil || pre.Len() != had-1 {
		t.Fatalf("%d, then %d Ts", had, pre.Len())
	}
	p.x = 1
	if !pre.Free(p) {
		typed.Free(p)
	}
	same(t, "Refill", pre.Refill(2*had), nil)
	var held []*point
	for p := pre.Alloc(); p != nil; p = pre.Alloc() {
		held = append(held, p)
	}
	if len(held) < 2*had {
		t.Errorf("%d Ts after a Refill to %d", len(held), 2*had)
	}
	pre.Return()
	pre.Return()
	typed.FreeBulk(held)
	none, err := typed.Prefill(0)
	same(t, "Prefill of none", err, slub.ErrConfig)
	none.Return()
	same(t, "Close", typed.Close(), nil)
}
