package slab

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// dissolve gives the isolated slabs back, so that the test leaves nothing.
func (r *rig) dissolve() {
	for ref := range r.all() {
		if ref.isolated {
			ref.isolated = false
			r.giveBack(ref, 0)
		}
	}
}

// doubleFrees are ways to free all objects of a slab but one, one of them twice, so that the slab
// is empty by its count.
var doubleFrees = map[string]func(r *rig, ps []unsafe.Pointer){
	"Free": func(r *rig, ps []unsafe.Pointer) {
		r.free(ps[1], ps[2], ps[1])
		r.free(ps[3:]...)
	},
	"Free last": func(r *rig, ps []unsafe.Pointer) { r.free(append(ps[1:len(ps):len(ps)], ps[1])...) },
	"FreeBulk": func(r *rig, ps []unsafe.Pointer) {
		r.FreeBulk([]unsafe.Pointer{ps[1], ps[2]})
		r.FreeBulk(append([]unsafe.Pointer{ps[1]}, ps[3:]...))
	},
	"both in one FreeBulk": func(r *rig, ps []unsafe.Pointer) {
		r.FreeBulk(append([]unsafe.Pointer{ps[1], ps[2], ps[1]}, ps[3:]...))
	},
}

// discards are the ways by which a slab goes back to the arena.
var discards = map[string]struct {
	minPartial int
	retires    bool
	after      func(r *rig, p unsafe.Pointer) // when all objects are free by the count
}{
	"the free of the last object": {minPartial: arena.None},
	"retire":                      {minPartial: arena.None, retires: true},
	"Shrink":                      {minPartial: 3, after: func(r *rig, _ unsafe.Pointer) { r.Shrink() }},
	"FreeEmpty":                   {minPartial: 3, after: func(r *rig, _ unsafe.Pointer) { r.FreeEmpty() }},
	"relist": {minPartial: 3, after: func(r *rig, p unsafe.Pointer) {
		ref := r.detach(p)
		r.SetMinPartial(arena.None)
		if r.relist(&r.nodes[0], []Ref{ref}) {
			r.reportDamages()
		}
	}},
}

// A double free empties a slab on paper while one of its objects is in use. Whichever way the slab
// would leave, it stays, and the object's content with it; it is reported once, and nothing of it
// is handed out again.
func TestDoubleFreeKeepsSlab(t *testing.T) {
	for how, free := range doubleFrees {
		for way, d := range discards {
			t.Run(how+"/"+way, func(t *testing.T) {
				cfg := Config{MinPartial: d.minPartial}
				if d.retires {
					cfg.AfterGracePeriod = func(f func()) { f() }
				}
				r := open(t, 64, cfg)
				ps := r.take(r.perSlab)
				held := mem.At[[64]byte](uintptr(ps[0]))
				for i := range held {
					held[i] = byte(i)
				}
				free(r, ps)
				if d.after != nil {
					d.after(r, ps[0])
				}
				r.expectIsolated(ps)

				// The arena's free pages go to others, which write to them.
				other := open(t, 64, Config{Arena: r.arena})
				other.id = 2
				others := other.take(8 * other.perSlab)
				for _, p := range append(r.take(4*r.perSlab), others...) {
					if r.slabOf(uintptr(p)).addr == r.slabOf(uintptr(ps[0])).addr {
						t.Fatalf("%p is handed out again", p)
					}
					*mem.At[[64]byte](uintptr(p)) = [64]byte{}
				}
				for i, b := range held {
					if b != byte(i) {
						t.Fatalf("byte %d of the object in use is %d", i, b)
					}
				}
				other.free(others...)

				r.Free(ps[0]) // as its holder may
				r.counted("after the last free")
				r.Shrink()
				if len(r.damages) != 1 || len(r.doubleFrees) != 0 || r.Isolated() != 1 {
					t.Errorf("then %v, %v are reported, %d slabs are isolated", r.damages, r.doubleFrees, r.Isolated())
				}
			})
		}
	}
}

// expectIsolated checks the report about the slab of ps, of which ps[1] was freed twice, and has
// the test end without it.
func (r *rig) expectIsolated(ps []unsafe.Pointer) {
	r.t.Helper()
	r.t.Cleanup(func() {
		for _, ref := range r.leftovers() {
			r.Free(ref)
		}
	})
	if len(r.damages) != 1 || r.Isolated() != 1 {
		r.t.Fatalf("%d slabs are isolated, reports: %+v", r.Isolated(), r.damages)
	}
	d := r.damages[0]
	if !d.Twice || d.Slab != r.slabOf(uintptr(ps[0])).addr || d.Object != uintptr(ps[1]) && d.Object != 0 {
		r.t.Errorf("%#x of %#x was freed twice; reported is %+v", ps[1], r.slabOf(uintptr(ps[0])).addr, d)
	}
	if d.Object == 0 && !strings.Contains(d.Detail, "the count says") {
		r.t.Errorf("without an object the report is %+v", d)
	}
	r.counted("with an isolated slab")
}

// leftovers gives isolated slabs back, and returns the objects that are out.
func (r *rig) leftovers() (ps []unsafe.Pointer) {
	r.dissolve()
	for obj := range r.InUse() {
		ps = append(ps, mem.Ptr(obj))
	}
	return ps
}

// A free into a slab whose objects are all free is a double free, whichever object it is: it is
// refused, and the slab stays as it was.
func TestDoubleFreeIntoEmptySlab(t *testing.T) {
	r := open(t, 64, Config{MinPartial: 3})
	ps := r.take(r.perSlab)
	r.free(ps...)
	for _, p := range ps[:5] {
		r.Free(p)
	}
	if len(r.doubleFrees) != 5 || r.doubleFrees[4] != uintptr(ps[4]) || len(r.damages) != 0 {
		t.Errorf("reported: %#x, %v", r.doubleFrees, r.damages)
	}
	r.counted("after five double frees")
	for _, p := range r.take(r.perSlab) {
		r.Free(p)
	}
}

// A refill that takes a whole chain hands out none of it if the chain has an object twice.
func TestTakeOfChainWithDoubleFree(t *testing.T) {
	for how, free := range map[string]func(r *rig, ps []unsafe.Pointer){
		"a ring":        func(r *rig, ps []unsafe.Pointer) { r.free(ps[1], ps[2], ps[1]) },
		"a short chain": func(r *rig, ps []unsafe.Pointer) { r.FreeBulk([]unsafe.Pointer{ps[1], ps[2], ps[1]}) },
	} {
		r := open(t, 64, Config{})
		ps := r.take(r.perSlab)
		free(r, ps)
		got := r.take(0)
		dst := make([]unsafe.Pointer, 8)
		n, err := r.Take(0, dst, false)
		if got = append(got, dst[:n]...); err != nil || n != len(dst) {
			t.Errorf("%s: took %d, %v", how, n, err)
		}
		r.expectIsolated(ps)
		for _, p := range got {
			if r.slabOf(uintptr(p)).addr == r.slabOf(uintptr(ps[0])).addr {
				t.Errorf("%s: %p is handed out", how, p)
			}
		}
		r.free(ps[3:]...)
		r.counted(how)
	}
}

// An object may lie in a sheaf a second time when its slab goes back. Once it comes to the slabs it
// is reported, and the slab that has the pages now stays as it is.
func TestDoubleFreeAfterSlabIsGone(t *testing.T) {
	r := open(t, 64, Config{MinPartial: arena.None})
	ps := r.take(r.perSlab)
	r.free(ps...)
	check := func(how string, want int) {
		t.Helper()
		if len(r.damages) != want || r.damages[want-1].Object != uintptr(ps[1]) || !r.damages[want-1].Gone {
			t.Errorf("%s: reported %+v", how, r.damages)
		}
	}
	r.Free(ps[1])
	check("Free", 1)
	other := open(t, 64, Config{Arena: r.arena})
	other.id = 2
	theirs := other.take(other.perSlab)
	mine := r.take(1)[0]
	r.FreeBulk([]unsafe.Pointer{mine, ps[1]})
	check("FreeBulk", 2)
	r.FreeBulk([]unsafe.Pointer{ps[1]})
	check("FreeBulk alone", 3)
	other.free(theirs...)
}

// What the report about an isolated slab leaves behind if it doesn't return is reported next.
func TestDamageWhoseReportLeaves(t *testing.T) {
	for how, leave := range leaves {
		r := open(t, 64, Config{MinPartial: 10})
		slabs := r.fullSlabs(3)
		for _, ps := range slabs {
			doubleFrees["Free"](r, ps)
		}
		reported := 0
		r.onDamage = func(Damage) { reported++; leave() }
		apart(func() { r.Shrink() })
		for range 3 {
			apart(r.reportDamages)
		}
		if reported != 3 || r.Isolated() != 3 {
			t.Errorf("%s: %d reports, %d slabs are isolated", how, reported, r.Isolated())
		}
		r.counted(how)
		r.dissolve()
	}
}

// IsolateDamaged finds what no operation has met, and says it once.
func TestIsolateDamaged(t *testing.T) {
	r := open(t, 64, Config{})
	ps := r.take(2 * r.perSlab)
	r.free(ps[1], ps[2], ps[1])
	found := r.IsolateDamaged()
	if len(found) != 1 || found[0].Object != uintptr(ps[1]) || len(r.damages) != 0 || r.Isolated() != 1 {
		t.Errorf("found %+v, reported %+v", found, r.damages)
	}
	if again := r.IsolateDamaged(); len(again) != 0 {
		t.Errorf("found again: %+v", again)
	}
	for obj := range r.InUse() {
		if r.slabOf(obj).addr == found[0].Slab {
			t.Errorf("%#x of an isolated slab is said to be in use", obj)
		}
	}
	r.free(ps[r.perSlab:]...)
	r.dissolve()
}

// Two refills take the chain of a damaged slab one after the other, and the first isolates it
// while the second has it off the list. The second must not list it again.
func TestIsolatedStaysOffTheList(t *testing.T) {
	r := open(t, 64, Config{MinPartial: 3})
	ps := r.take(r.perSlab)
	ref := r.slabOf(uintptr(ps[0]))
	n := &r.nodes[0]
	n.mu.Lock()
	r.isolate(ref)
	n.unlock()
	for name, back := range map[string]func(){
		"relist":     func() { r.relist(n, []Ref{ref}) },
		"returnRest": func() { r.returnRest(ref, uintptr(ps[0]), 1, 0) },
	} {
		if back(); ref.listed || n.partial.Load() != 0 {
			t.Fatalf("%s lists an isolated slab", name)
		}
	}
	r.dissolve()
}

// A slab that the free of its last object gives back counts as freed. One that is isolated
// instead does not.
func TestFreeSlabIsCounted(t *testing.T) {
	r := open(t, 64, Config{MinPartial: arena.None})
	freed := func(when string) {
		t.Helper()
		if n := r.counters.Cells.Sum(freeSlab); n != 3 {
			t.Errorf("%s: %d slabs count as freed, want 3", when, n)
		}
	}
	r.free(r.take(3 * r.perSlab)...)
	freed("all objects are free")
	ps := r.take(r.perSlab)
	doubleFrees["Free"](r, ps)
	r.expectIsolated(ps)
	freed("a slab is isolated")
}
