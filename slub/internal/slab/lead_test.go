package slab

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// openLed makes a rig with marks, whose objects have a lead.
func openLed(t *testing.T, size, lead uintptr, cfg Config) *rig {
	t.Helper()
	cfg.Arena = newArena(t, arena.Config{})
	table, err := new(MarkTables).For(cfg.Arena, size)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Marks, cfg.Lead = table, lead
	return open(t, size, cfg)
}

// Objects begin Lead bytes into their parts of the slab, each once, whatever is done with the slab.
func TestLead(t *testing.T) {
	const size, lead = 104, 8
	for _, cfg := range []Config{{}, {Order: 2}, {Shuffle: true}, {MinPartial: arena.None}} {
		r := openLed(t, size, lead, cfg)
		for range 3 {
			ps := r.take(3 * r.perSlab)
			alone, err := r.TakeAlone(0)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[uintptr]bool{}
			for _, p := range append(slices.Clone(ps), alone) {
				ref := r.slabOf(uintptr(p))
				off := uintptr(p) - r.Addr(ref)
				if off%size != lead || off+size-lead > ref.Bytes() || seen[uintptr(p)] || !r.isObject(uintptr(p)) || r.Addr(ref)%mem.PageSize != 0 {
					t.Fatalf("%+v: an object at +%d of a slab of %d bytes", cfg, off, ref.Bytes())
				}
				seen[uintptr(p)] = true
				paintBytes(uintptr(p), size-lead)
			}
			r.Free(alone)
			r.free(ps[:r.perSlab+5]...)
			for slab, problem := range r.Validate() {
				t.Errorf("%+v: slab %#x: %s", cfg, slab, problem)
			}
			r.free(ps[r.perSlab+5:]...)
		}
	}
}

// paintBytes writes to all of an object but its link.
func paintBytes(obj, size uintptr) {
	for i := range size {
		if fp := mem.AlignDown(104/2, FreePtrSize); i < fp || i >= fp+FreePtrSize {
			*mem.At[byte](obj + i) = 0xee
		}
	}
}

// A new slab resets the marks of its objects, whatever the last slab there has left, and no others:
// those of the slabs beside it are in use.
func TestMarksOfNeighbouringSlabs(t *testing.T) {
	for _, lead := range []uintptr{0, 8, 48} {
		r := openLed(t, 104, lead, Config{MinPartial: arena.None})
		const slabs = 16
		ps := r.take(slabs * r.perSlab)
		slices.SortFunc(ps, func(p, q unsafe.Pointer) int { return int(uintptr(p)) - int(uintptr(q)) })
		var keep, free []unsafe.Pointer
		for i, p := range ps {
			r.SetInUse(p)
			if i/r.perSlab%2 == 1 {
				keep = append(keep, p)
			} else {
				free = append(free, p)
			}
		}
		r.free(free...)
		free = r.take(len(free))
		for _, p := range keep {
			if r.Marks().Load(uintptr(p)) != InUse {
				t.Fatalf("lead %d: the object at %p has lost its mark", lead, p)
			}
		}
		for _, p := range free {
			if r.Marks().Load(uintptr(p)) != Free {
				t.Fatalf("lead %d: the object at %p of a new slab has a mark", lead, p)
			}
		}
		r.free(append(keep, free...)...)
	}
}

// Visit finds the slabs with free objects and those without, and none that is in a refill's hands,
// is isolated, or has one object that is alone.
func TestVisit(t *testing.T) {
	r := openLed(t, 104, 8, Config{})
	ps := r.take(2*r.perSlab + 1) // two slabs without free objects, one with
	alone, err := r.TakeAlone(0)
	if err != nil {
		t.Fatal(err)
	}
	visited := func() (slabs []uintptr) {
		r.Visit(func(ref Ref) { slabs = append(slabs, r.Addr(ref)) })
		return slabs
	}
	if slabs := visited(); len(slabs) != 3 || slices.Contains(slabs, r.Addr(r.slabOf(uintptr(alone)))) {
		t.Errorf("%d slabs are visited, 3 are there", len(slabs))
	}
	n := &r.nodes[0]
	private := r.slabOf(uintptr(ps[len(ps)-1]))
	n.mu.Lock()
	n.remove(r.Slabs, private)
	n.unlock()
	if slabs := visited(); len(slabs) != 2 || slices.Contains(slabs, r.Addr(private)) {
		t.Errorf("%d slabs are visited, one of 3 is private", len(slabs))
	}
	n.mu.Lock()
	n.add(r.Slabs, private, true)
	n.unlock()
	r.Free(alone)
	r.free(ps...)
}

// Mend cuts a chain where it leads astray, counts what is left, and adds to the count what comes
// back to the chain. After that nothing is wrong.
func TestMend(t *testing.T) {
	mended := func(r *rig) (fixes []string) {
		for m := range r.Mend {
			fixes = append(fixes, m.Fix)
		}
		return fixes
	}
	for name, c := range map[string]struct {
		object, leadsTo int // of the freed ones, by order of the free
		want            []string
	}{
		"in the middle": {2, -1, []string{"", "Object count adjusted"}},
		"at the end":    {0, -1, []string{"Freelist cut"}},
		"in a circle":   {1, 3, []string{"", "Object count adjusted"}},
	} {
		r := open(t, 64, Config{})
		ps := r.take(5)
		r.free(ps[:4]...)
		obj := uintptr(ps[c.object])
		before, _ := r.Next(obj)
		if c.leadsTo < 0 {
			*mem.At[uint64](obj + r.fp) ^= 1 << 45
		} else {
			r.SetNext(obj, uintptr(ps[c.leadsTo]))
		}
		if got := mended(r); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := mended(r); len(got) != 0 {
			t.Errorf("%s: %q when it is mended", name, got)
		}
		r.counted(name)
		r.SetNext(obj, before)
		if got := mended(r); len(got) != len(c.want)-1 {
			t.Errorf("%s: %q when the link is right again", name, got)
		}
		r.counted(name)
		r.free(ps[4])
	}
}
