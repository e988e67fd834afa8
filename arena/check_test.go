package arena

import (
	"testing"

	"github.com/slubd/slubd/internal/invariants"
)

// The test breaks one equation at a time by hand. check must see it.
func TestCheckSeesCorruption(t *testing.T) {
	for name, corrupt := range map[string]func(z *zone, run Run){
		"used":                 func(z *zone, _ Run) { z.used++ },
		"runs":                 func(z *zone, _ Run) { z.runs-- },
		"leaving":              func(z *zone, _ Run) { z.leaving++; z.used-- },
		"clean for dirty":      func(z *zone, _ Run) { z.free[0].pages--; z.free[1].pages++ },
		"state inside a run":   func(z *zone, r Run) { z.pages.mark(r.Page+1, 0, inner) },
		"state of a head":      func(z *zone, r Run) { z.pages.mark(r.Page, 0, 0xf0) },
		"state inside a block": func(z *zone, r Run) { z.pages.mark(r.Page+1+1<<r.Order, 0, used) },
		"buddies apart": func(z *zone, r Run) {
			page, _ := z.take(clean, 1<<4)
			z.link(page, clean|3)
			z.link(page+8, clean|3)
		},
		"owner of a free page": func(z *zone, r Run) { z.pages.setOwner(r.Page+1<<r.Order, 1, 1) },
		"lost list":            func(z *zone, r Run) { z.free[0].lists[3].top = 0 },
		"broken link":          func(z *zone, r Run) { z.pages.link(r.Page + 1<<r.Order).prev = 9 },
		"lost end":             func(z *zone, _ Run) { z.free[0].lists[3].bottom = 0 },
		"old before young":     func(z *zone, _ Run) { z.pages.link(z.free[0].lists[3].head()).born = 1 << 40 },
		"more idle than dirty": func(z *zone, _ Run) { z.idle.low = 1 },
		"bit of an empty list": func(z *zone, _ Run) { z.free[1].orders |= 1 },
	} {
		a, err := New(Config{Span: 4 * mib, Topology: nodes(t, 0)})
		if err != nil {
			t.Fatal(err)
		}
		run := alloc(t, a, 3, 0)
		check(a)
		corrupt(&a.zones[0], run)
		if !panics(func() { check(a) }) {
			t.Errorf("%s: check sees nothing", name)
		}
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func TestLedgerSeesUnderflow(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	var l ledger
	l.charge(4, Unlimited)
	l.addDirty(2)
	if !panics(func() { l.uncharge(3) }) {
		t.Error("uncharge of 3 pages passes, though only 2 of 4 can be leaving")
	}
}

// The next Alloc of a run finds a write to it after it was freed and discarded.
func TestCheckSeesUseAfterFree(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	a := open(t, Config{})
	run := alloc(t, a, 1, 0)
	w := words(a, run)
	a.Free(run.Page)
	a.Purge(0)
	w[700] = 1
	if !panics(func() { _, _ = a.Alloc(1, 0) }) {
		t.Error("Alloc hands out a written run as zero")
	}
	w[700] = 0
	a.Free(run.Page)
}
