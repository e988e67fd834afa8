package slub_test

import (
	"context"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// calls counts hook calls by address, without a lock: these tests use one goroutine.
type calls struct {
	alloc, free map[uintptr]int
	slabs       []hooks.Slab
	keep        map[uintptr]bool
}

func openHooked(t *testing.T, cfg slub.Config) (*slub.Cache, *calls) {
	n := &calls{alloc: map[uintptr]int{}, free: map[uintptr]int{}, keep: map[uintptr]bool{}}
	cfg.Hooks = hooks.Hooks{
		Alloc:   func(o hooks.Object) { n.alloc[o.Addr]++ },
		Free:    func(o hooks.Object) bool { n.free[o.Addr]++; return n.keep[o.Addr] },
		NewSlab: func(s hooks.Slab) { n.slabs = append(n.slabs, s) },
	}
	return open(t, nil, cfg), n
}

// ways are all ways to allocate n objects, backs all ways to free them.
var (
	ways = map[string]func(t *testing.T, c *slub.Cache, n int) []unsafe.Pointer{
		"Alloc":     func(t *testing.T, c *slub.Cache, n int) []unsafe.Pointer { return take(t, c, n) },
		"AllocZero": each((*slub.Cache).AllocZero),
		"AllocNode": each(func(c *slub.Cache) (unsafe.Pointer, error) { return c.AllocNode(c.Arena().Topology().Nodes()[0]) }),
		"AllocNoWait": each(func(c *slub.Cache) (unsafe.Pointer, error) {
			p, err := c.AllocNoWait()
			for tries := 0; err == slub.ErrWouldBlock && tries < 100; tries++ {
				if p, err = c.Alloc(); err == nil {
					c.Free(p) // an object is at hand now, unless this one was sampled or guarded
					p, err = c.AllocNoWait()
				}
			}
			return p, err
		}),
		"AllocBulk": func(t *testing.T, c *slub.Cache, n int) []unsafe.Pointer {
			ps := make([]unsafe.Pointer, n)
			if err := c.AllocBulk(ps); err != nil {
				t.Fatal(err)
			}
			return ps
		},
		"Prefill": lent((*slub.Cache).Prefill),
	}
	backs = map[string]func(c *slub.Cache, ps []unsafe.Pointer){
		"Free":     freeAll,
		"FreeBulk": func(c *slub.Cache, ps []unsafe.Pointer) { c.FreeBulk(append([]unsafe.Pointer(nil), ps...)) },
		"FreeDeferred": func(c *slub.Cache, ps []unsafe.Pointer) {
			for _, p := range ps {
				c.FreeDeferred(p)
			}
			_ = c.Barrier(context.Background())
		},
		"FreeRCU": func(c *slub.Cache, ps []unsafe.Pointer) {
			for _, p := range ps {
				c.FreeRCU(p)
			}
			_ = c.Barrier(context.Background())
		},
	}
)

func each(alloc func(*slub.Cache) (unsafe.Pointer, error)) func(*testing.T, *slub.Cache, int) []unsafe.Pointer {
	return func(t *testing.T, c *slub.Cache, n int) []unsafe.Pointer {
		ps := make([]unsafe.Pointer, n)
		for i := range ps {
			var err error
			if ps[i], err = alloc(c); err != nil {
				t.Fatal(err)
			}
		}
		return ps
	}
}

// lent takes objects from prefilled sheaves: half of them from one, which is oversize if they are
// many, the others from small ones, which are sheaves of the CPU or of the barn.
func lent(prefill func(*slub.Cache, int) (*slub.Prefilled, error)) func(*testing.T, *slub.Cache, int) []unsafe.Pointer {
	return func(t *testing.T, c *slub.Cache, n int) (ps []unsafe.Pointer) {
		for want := (n + 1) / 2; len(ps) < n; want = min(9, n-len(ps)) {
			pre, err := prefill(c, want+3)
			if err != nil {
				t.Fatal(err)
			}
			for range want {
				ps = append(ps, pre.Alloc())
			}
			pre.Return()
		}
		return ps
	}
}

// smallSheaves gives a config sheaves that are as few and as small as possible: those of automatic
// capacity hold up to 240 objects each. beyondSheaves is how many objects of such a cache are more
// than a CPU's two sheaves and the barn's one hold, so that sheaves are exchanged and flushed.
func smallSheaves(cfg slub.Config) slub.Config {
	if cfg.Flags&slub.NoSheaves == 0 {
		cfg.SheafCapacity, cfg.BarnFull = 1, 1 // the capacity is raised to the kernel's, 60 at most
	}
	return cfg
}

const beyondSheaves = 200

// wantExchanges checks beyondSheaves for objects that a way to allocate gets.
func wantExchanges(t *testing.T, a *arena.Arena, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer) {
	t.Helper()
	withoutSamples(t) // no sheaf has them
	c := open(t, a, cfg)
	var e [slub.NumEvents]uint64
	seen := func() bool {
		e = c.Stats().Events
		return e[slub.BarnPut] > 0 && e[slub.BarnGet] > 0 && e[slub.SheafFlush] > 0
	}
	pinned(t, 0, func() {
		// A sweep may empty the barn between two rounds.
		for round := 0; round < 100 && !seen(); round++ {
			freeAll(c, way(t, c, beyondSheaves))
		}
	})
	if !seen() {
		t.Errorf("%d sheaves went to the barn, %d came from there, and %d objects were flushed",
			e[slub.BarnPut], e[slub.BarnGet], e[slub.SheafFlush])
	}
}

// everyWay runs f for all ways to allocate and to free, with and without sheaves, with the config
// of a new cache for each. It has smallSheaves.
func everyWay(t *testing.T, flags slub.Flags, f func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer))) {
	t.Run("exchanges", func(t *testing.T) {
		wantExchanges(t, nil, smallSheaves(slub.Config{Size: 64, Flags: flags}), ways["Alloc"])
	})
	for _, sheaves := range []slub.Flags{0, slub.NoSheaves} {
		for in, way := range ways {
			for out, back := range backs {
				if sheaves == slub.NoSheaves && in == "Prefill" {
					continue
				}
				name := in + " " + out
				if sheaves == slub.NoSheaves {
					name += " without sheaves"
				}
				t.Run(name, func(t *testing.T) { f(t, smallSheaves(slub.Config{Size: 64, Flags: flags | sheaves}), way, back) })
			}
		}
	}
}

func TestHooksSeeEveryObjectOnce(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	everyWay(t, 0, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
		cfg.MinPartial = 50 // no slab goes back: the objects of all that were made are compared
		c, n := openHooked(t, cfg)
		for range 2 { // the second time objects come from the sheaves that took the first
			ps := way(t, c, beyondSheaves)
			for _, p := range ps {
				if out := n.alloc[uintptr(p)] - n.free[uintptr(p)]; out != 1 {
					t.Fatalf("%p: Alloc hook called %d times more than Free hook", p, out)
				}
			}
			back(c, ps)
			for addr, k := range n.alloc {
				if n.free[addr] != k {
					t.Fatalf("%#x: Alloc hook called %d times, Free hook %d", addr, k, n.free[addr])
				}
			}
		}
		objects := 0
		for _, s := range n.slabs {
			objects += s.Objects
		}
		if st := c.Stats(); uint64(len(n.slabs)) != st.Events[slub.AllocSlab] || uint64(objects) != st.Nodes[0].Objects {
			t.Errorf("%d slabs and %d objects seen, have %d and %d", len(n.slabs), objects, st.Events[slub.AllocSlab], st.Nodes[0].Objects)
		}
	})
}

// An object that the Free hook keeps is never allocated again, in any way.
func TestKeptObjectsStayOut(t *testing.T) {
	everyWay(t, 0, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
		c, n := openHooked(t, cfg)
		ps := way(t, c, 3*beyondSheaves)
		for i, p := range ps {
			n.keep[uintptr(p)] = i%3 == 0
		}
		back(c, ps)
		if st := c.Stats(); st.InUse != beyondSheaves {
			t.Errorf("%d in use after %d were kept", st.InUse, beyondSheaves)
		}
		again := way(t, c, 3*beyondSheaves)
		for _, p := range again {
			if n.keep[uintptr(p)] {
				t.Errorf("%p was kept, and handed out", p)
			}
		}
		back(c, again)
		c.Shrink()
		same(t, "Close with kept objects", c.Close(), slub.ErrBusy)
		for addr, kept := range n.keep {
			if kept {
				n.keep[addr] = false
				freeToSlab(c, mem.Ptr(addr))
			}
		}
	})
}

// With InitOnAlloc every way to allocate returns zeroed objects.
func TestInitOnAlloc(t *testing.T) {
	everyWay(t, slub.InitOnAlloc, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
		cfg.Size = 52
		c := open(t, nil, cfg)
		for range 3 {
			ps := way(t, c, beyondSheaves)
			for _, p := range ps {
				if !zeroed(p, 52) {
					t.Fatalf("%p is not zero", p)
				}
				paint(p, 52, 1)
			}
			back(c, ps)
		}
	})
}

// With InitOnFree an object that was freed is zero, also in its slab, except for the free
// pointer.
func TestInitOnFree(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	everyWay(t, slub.InitOnFree, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
		if sanitized {
			t.Skip("the sanitizer doesn't let us look at free objects")
		}
		c := open(t, nil, cfg)
		fp := freePointerOf(c)
		for range 3 {
			ps := way(t, c, beyondSheaves)
			for _, p := range ps {
				paint(p, 64, 2)
			}
			back(c, ps)
			for _, p := range ps {
				if !zeroed(p, fp) || !zeroed(unsafe.Add(p, fp+8), 64-fp-8) {
					t.Fatalf("%p is not wiped", p)
				}
			}
		}
		for _, p := range take(t, c, 100) {
			if !zeroed(p, 64) {
				t.Fatalf("%p shows its free pointer", p)
			}
			c.Free(p)
		}
	})
}

// The Alloc hook sees the object as the caller will, zeroed for AllocZero.
func TestAllocHookSeesZeroes(t *testing.T) {
	dirty := 0
	c := open(t, nil, slub.Config{Size: 64, Hooks: hooks.Hooks{Alloc: func(o hooks.Object) {
		if !zeroed(mem.Ptr(o.Addr), uintptr(o.Size)) {
			dirty++
		}
	}}})
	for range 10 {
		p, err := c.AllocZero()
		if err != nil {
			t.Fatal(err)
		}
		paint(p, 64, 3)
		c.Free(p)
	}
	if dirty > 0 {
		t.Errorf("%d of 10 objects were not zero yet", dirty)
	}
}

// A constructor runs once for every object, however often the object is allocated.
func TestConstructorRunsOncePerObject(t *testing.T) {
	withoutSamples(t) // a sampled object's slab is constructed each time
	everyWay(t, 0, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
		made := map[unsafe.Pointer]int{}
		cfg.Ctor = func(p unsafe.Pointer) { made[p]++; paint(p, 64, constructed) }
		cfg.MinPartial = 50 // no slab goes back and is made again
		c := open(t, nil, cfg)
		for range 3 {
			ps := way(t, c, beyondSheaves)
			for _, p := range ps {
				if made[p] != 1 {
					t.Fatalf("%p was constructed %d times", p, made[p])
				}
				paint(p, 64, constructed)
			}
			back(c, ps)
		}
	})
}

// InitOnFree zeroes a new slab whose pages held other objects before.
func TestInitOnFreeFreshSlab(t *testing.T) {
	a := newArena(t, arena.Config{})
	before := open(t, a, slub.Config{Size: 64})
	for _, p := range take(t, before, 500) {
		for i := range mem.Bytes(uintptr(p), 64) {
			mem.Bytes(uintptr(p), 64)[i] = 0xaa
		}
		before.Free(p)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	c := open(t, a, slub.Config{Size: 64, Flags: slub.InitOnFree})
	objs := take(t, c, 500)
	for _, p := range objs {
		if !zeroed(p, 64) {
			t.Fatalf("object %p of a fresh slab holds % x", p, mem.Bytes(uintptr(p), 64))
		}
	}
	c.FreeBulk(objs)
}
