package slub

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

func TestSlabOrderTunables(t *testing.T) {
	for _, c := range []struct {
		slabs Slabs
		size  uintptr
		want  int
	}{
		{Slabs{}, 64, 0}, {Slabs{MinOrder: 2}, 64, 2}, {Slabs{MinObjects: 1}, 1024, 0}, {Slabs{MinObjects: 16}, 1024, 2},
		{Slabs{MaxOrder: 1, MinObjects: 64}, 1024, 1}, {Slabs{MaxOrder: 5, MinObjects: 128}, 1024, 5},
		{Slabs{MinObjects: 1}, 3000, 2},   // the first that wastes no more than an eighth: 1384 of 16384
		{Slabs{MaxOrder: 1}, 64 << 10, 4}, // larger objects take what they need
	} {
		if got := c.slabs.order(c.size, 2); got != c.want {
			t.Errorf("%+v: order %d for %d bytes, want %d", c.slabs, got, c.size, c.want)
		}
	}
	for _, s := range []Slabs{{MinOrder: -1}, {MinOrder: 4}, {MaxOrder: 11}, {MinOrder: 5, MaxOrder: 4}, {MinObjects: -1}} {
		if err := (Config{Size: 8, Slabs: s}).Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	c := open(t, nil, Config{Size: 64, Slabs: Slabs{MinOrder: 3}})
	if s := c.Stats(); s.Order != 3 || s.ObjectsPerSlab != 512 {
		t.Errorf("order %d, %d objects", s.Order, s.ObjectsPerSlab)
	}
}

// A node keeps an empty slab only while it has fewer than MinPartial partial ones, that
// slab included.
func TestMinPartial(t *testing.T) {
	c := open(t, nil, Config{Size: 1024, Flags: NoSheaves, MinPartial: 3, Slabs: Slabs{MinObjects: 1}})
	empty := func(want uint64) {
		t.Helper()
		freeAll(c, take(t, c, 80)) // 20 slabs
		if got := c.Stats().Nodes[0].Slabs; got != want {
			t.Errorf("%d empty slabs are kept, want %d", got, want)
		}
	}
	empty(2)
	same(t, "SetMinPartial", c.SetMinPartial(8), nil)
	empty(7)
	same(t, "SetMinPartial", c.SetMinPartial(0), nil)
	c.Shrink()
	empty(4)
	if err := (Config{Size: 8, MinPartial: -1}).Validate(); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// Shuffled slabs hand out all their objects once, each slab from another start.
func TestShuffleFreelist(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Size: 64, Flags: NoSheaves | ShuffleFreelist})
	orders := map[string]bool{}
	for range 8 {
		ps := take(t, c, c.perSlab)
		slab := c.slabs.slabOf(uintptr(ps[0])).addr
		var order strings.Builder
		seen := make([]bool, c.perSlab)
		inTurn := 0
		last := uintptr(c.perSlab - 1)
		for i, p := range ps {
			k := (uintptr(p) - slab) / 64
			if k >= uintptr(c.perSlab) || seen[k] {
				t.Fatalf("object %d of the slab at %#x is %p", i, slab, p)
			}
			seen[k] = true
			if k == (last+1)%uintptr(c.perSlab) {
				inTurn++
			}
			last = k
			order.WriteByte(byte(k))
		}
		orders[order.String()] = true
		if inTurn > len(ps)/2 {
			t.Errorf("%d of %d objects come after their neighbours", inTurn, len(ps))
		}
		defer freeAll(c, ps)
	}
	if len(orders) < 4 {
		t.Errorf("8 slabs have %d orders", len(orders))
	}
	plain := open(t, a, Config{Size: 64, Flags: NoSheaves | NoMerge})
	ps := take(t, plain, plain.perSlab)
	if !slices.IsSortedFunc(ps, comparePointers) {
		t.Error("without the flag objects don't come in the order of addresses")
	}
	freeAll(plain, ps)
}

// A slab of lower order has its own objects only, in the same random order.
func TestShuffleSmallSlab(t *testing.T) {
	a := newArena(t, arena.Config{Span: 8 * mib})
	c := open(t, a, Config{Size: 512, Flags: NoSheaves | ShuffleFreelist, Slabs: Slabs{MinOrder: 3}})
	var runs []arena.Run
	for {
		run, err := a.Alloc(0, 0)
		if err != nil {
			break
		}
		runs = append(runs, run)
	}
	a.Free(runs[7].Page)
	ps := take(t, c, 8)
	for _, p := range ps {
		if uintptr(p)&^(mem.PageSize-1) != a.Addr(runs[7].Page) {
			t.Errorf("object %p isn't in the only page", p)
		}
	}
	slices.SortFunc(ps, comparePointers)
	if len(slices.Compact(slices.Clone(ps))) != 8 {
		t.Error("an object was handed out twice")
	}
	freeAll(c, ps)
	for i, run := range runs {
		if i != 7 {
			a.Free(run.Page)
		}
	}
}

// An object that is freed twice in a row, to the slab, is reported, and is free once;
// those that came with it are free, too.
func TestDoubleFreeInARow(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64, Flags: NoSheaves})
	ps := take(t, c.Cache, 4)
	for name, twice := range map[string]struct {
		free func()
		n    int
	}{
		"Free":     {func() { c.Free(ps[0]); c.Free(ps[0]) }, 1},
		"FreeBulk": {func() { c.FreeBulk([]unsafe.Pointer{ps[0], ps[0]}) }, 1},
		"a chain":  {func() { c.Free(ps[0]); c.FreeBulk([]unsafe.Pointer{ps[1], ps[2], ps[0]}) }, 3},
	} {
		c.reports = nil
		first := ps[0]
		twice.free()
		if len(c.reports) != 1 || c.reports[0].Kind != hooks.DoubleFree || c.reports[0].Addr != uintptr(first) {
			t.Errorf("%s: reports %v", name, c.reports)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		back := take(t, c.Cache, twice.n)
		slices.SortFunc(back, comparePointers)
		want := slices.SortedFunc(slices.Values(ps[:twice.n]), comparePointers)
		if !slices.Equal(back, want) {
			t.Errorf("%s: %v are free, want %v", name, back, want)
		}
	}
	freeAll(c.Cache, ps)
}

// A free pointer is stored as the kernel does under CONFIG_SLAB_FREELIST_HARDENED:
// combined with a secret of the cache's and the bytes of its own address, swapped.
func TestFreelistHardening(t *testing.T) {
	secrets := map[uint64]bool{0: true}
	for range 4 {
		c := open(t, nil, Config{Size: 64, Flags: NoSheaves | NoMerge})
		if secrets[c.slabs.secret] {
			t.Errorf("secret %#x is no secret", c.slabs.secret)
		}
		secrets[c.slabs.secret] = true
		ps := take(t, c, c.perSlab) // all, so that the chain ends with the first one freed
		freeAll(c, ps[:3])
		for i, next := range []uintptr{0, uintptr(ps[0]), uintptr(ps[1])} {
			at := uintptr(ps[i]) + c.layout.fp
			want := uint64(next) ^ c.slabs.secret ^ bits.ReverseBytes64(uint64(at))
			if got := *mem.At[uint64](at); got != want {
				t.Errorf("the free pointer at %#x to %#x reads %#x, want %#x", at, next, got, want)
			}
		}
		freeAll(c, ps[3:])
	}
}

func comparePointers(p, q unsafe.Pointer) int { return cmp.Compare(uintptr(p), uintptr(q)) }

// Validate finds each kind of damage, names the slab, and nothing in a sound cache.
func TestValidate(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64, Flags: NoSheaves})
	ps := take(t, c.Cache, 3*c.perSlab)
	freeAll(c.Cache, ps[:2*c.perSlab-10])
	if err := c.Validate(); err != nil {
		t.Errorf("of a sound cache: %v", err)
	}
	obj := uintptr(ps[2*c.perSlab-11]) // first in the chain of the second slab
	s := c.slabs.slabOf(obj)
	word := mem.At[uint64](obj + c.slabs.fp)
	sound, st := *word, s.state.Load()
	report := c.config.Hooks.Report
	for want, damage := range map[string]func(){
		"leads out of the slab":    func() { *word = 1 },
		"where no object starts":   func() { c.slabs.setNext(obj, s.addr+8) },
		"comes back to":            func() { c.slabs.setNext(obj, obj) },
		"the count says":           func() { c.slabs.setNext(obj, 0) },
		"free objects, the count ": func() { s.state.Store(st + 1<<freeBits) },
	} {
		c.reports = nil
		damage()
		err := c.Validate()
		var r *hooks.Report
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &r) || r.Slab != s.addr || len(c.reports) != 1 {
			t.Errorf("%q: %v, %d reports", want, err, len(c.reports))
		}
		c.config.Hooks.Report = nil
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q without a hook: %v", want, err)
		}
		c.config.Hooks.Report = report
		*word = sound
		s.state.Store(st)
	}
	freeAll(c.Cache, ps[2*c.perSlab-10:])
}

// Of slabs that have no chain of their own at rest, Validate says nothing: those that a
// refill took off the list, and those that are the arena's again.
func TestValidateOthers(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Slabs: Slabs{MinObjects: 1}})
	p := take(t, c, 1)[0]
	s, n := c.slabs.slabOf(uintptr(p)), &c.slabs.nodes[0]
	st := s.state.Load()
	n.mu.Lock()
	n.remove(c.slabs, s)
	n.mu.Unlock()
	s.state.Store(st + 1<<freeBits)
	if wrong := c.slabs.validate(s); wrong != "" {
		t.Errorf("a refill's slab: %s", wrong)
	}
	s.state.Store(st)
	n.mu.Lock()
	n.add(c.slabs, s, true)
	n.mu.Unlock()
	c.Free(p)
	c.Shrink()
	s.listed = true
	if wrong := c.slabs.validate(s); wrong != "" {
		t.Errorf("the arena's slab: %s", wrong)
	}
	s.listed = false
}

// Validate finds nothing in a cache that others use.
func TestValidateMeanwhile(t *testing.T) {
	c := open(t, nil, Config{Size: 64, SheafCapacity: 4})
	stop, done := make(chan bool), make(chan bool)
	for range 3 {
		go func() {
			defer func() { done <- true }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				ps := make([]unsafe.Pointer, 200)
				if err := c.AllocBulk(ps); err != nil {
					t.Error(err)
					return
				}
				for _, p := range ps {
					*mem.At[uint64](uintptr(p) + c.slabs.fp) = 1
				}
				c.FreeBulk(ps)
			}
		}()
	}
	for range 10 {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		for s := range c.slabs.all() {
			for range 100 {
				if wrong := c.slabs.validate(s); wrong != "" {
					t.Error(wrong)
				}
			}
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	for range 3 {
		<-done
	}
}
