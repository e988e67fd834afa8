package slub

import (
	"context"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// calls counts hook calls by address; most tests use one goroutine, and the race
// detector sees to the rest.
type calls struct {
	alloc, free map[uintptr]int
	slabs       []hooks.Slab
	keep        map[uintptr]bool
}

func openHooked(t *testing.T, cfg Config) (*Cache, *calls) {
	n := &calls{map[uintptr]int{}, map[uintptr]int{}, nil, map[uintptr]bool{}}
	cfg.Hooks = hooks.Hooks{
		Alloc:   func(o hooks.Object) { n.alloc[o.Addr]++ },
		Free:    func(o hooks.Object) bool { n.free[o.Addr]++; return n.keep[o.Addr] },
		NewSlab: func(s hooks.Slab) { n.slabs = append(n.slabs, s) },
	}
	return open(t, nil, cfg), n
}

// balancing hooks count the objects that went out and didn't come back.
func balancing(n *int) hooks.Hooks {
	return hooks.Hooks{
		Alloc: func(hooks.Object) { *n++ },
		Free:  func(hooks.Object) bool { *n--; return false },
	}
}

// ways are all ways to get n objects, and to give them back.
var (
	ways = map[string]func(t *testing.T, c *Cache, n int) []unsafe.Pointer{
		"Alloc":     func(t *testing.T, c *Cache, n int) []unsafe.Pointer { return take(t, c, n) },
		"AllocZero": each((*Cache).AllocZero),
		"AllocNode": each(func(c *Cache) (unsafe.Pointer, error) { return c.AllocNode(c.nodeAt(0)) }),
		"AllocNoWait": each(func(c *Cache) (unsafe.Pointer, error) {
			p, err := c.AllocNoWait()
			if err == ErrWouldBlock {
				if p, err = c.Alloc(); err == nil {
					c.Free(p) // there is something at hand now
					p, err = c.AllocNoWait()
				}
			}
			return p, err
		}),
		"AllocBulk": func(t *testing.T, c *Cache, n int) []unsafe.Pointer {
			ps := make([]unsafe.Pointer, n)
			if err := c.AllocBulk(ps); err != nil {
				t.Fatal(err)
			}
			return ps
		},
		"Prefill": func(t *testing.T, c *Cache, n int) []unsafe.Pointer {
			pre, err := c.Prefill(n + 3)
			if err != nil {
				t.Fatal(err)
			}
			defer pre.Return()
			ps := make([]unsafe.Pointer, n)
			for i := range ps {
				ps[i] = pre.Alloc()
			}
			return ps
		},
	}
	backs = map[string]func(c *Cache, ps []unsafe.Pointer){
		"Free":     freeAll,
		"FreeBulk": func(c *Cache, ps []unsafe.Pointer) { c.FreeBulk(append([]unsafe.Pointer(nil), ps...)) },
		"FreeDeferred": func(c *Cache, ps []unsafe.Pointer) {
			for _, p := range ps {
				c.FreeDeferred(p)
			}
			_ = c.Barrier(context.Background())
		},
		"FreeRCU": func(c *Cache, ps []unsafe.Pointer) {
			for _, p := range ps {
				c.FreeRCU(p)
			}
			_ = c.Barrier(context.Background())
		},
	}
)

func each(alloc func(*Cache) (unsafe.Pointer, error)) func(*testing.T, *Cache, int) []unsafe.Pointer {
	return func(t *testing.T, c *Cache, n int) []unsafe.Pointer {
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

// everyWay runs f for all ways in and out, with and without sheaves, in a fresh cache
// each; 150 objects are more than a CPU's sheaves hold.
func everyWay(t *testing.T, flags Flags, f func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer))) {
	for _, sheaves := range []Flags{0, NoSheaves} {
		for in, way := range ways {
			for out, back := range backs {
				if sheaves == NoSheaves && in == "Prefill" {
					continue
				}
				name := in + " " + out
				if sheaves == NoSheaves {
					name += " without sheaves"
				}
				t.Run(name, func(t *testing.T) { f(t, Config{Size: 64, Flags: flags | sheaves}, way, back) })
			}
		}
	}
}

func TestHooksSeeEveryObjectOnce(t *testing.T) {
	everyWay(t, 0, func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer)) {
		c, n := openHooked(t, cfg)
		ps := way(t, c, 150)
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
		objects := 0
		for _, s := range n.slabs {
			objects += s.Objects
		}
		if st := c.Stats(); uint64(len(n.slabs)) != st.Events[AllocSlab] || uint64(objects) != st.Nodes[0].Objects {
			t.Errorf("%d slabs and %d objects seen, have %d and %d", len(n.slabs), objects, st.Events[AllocSlab], st.Nodes[0].Objects)
		}
	})
}

// An object that the Free hook keeps is out for good: it comes back on no way.
func TestKeptObjectsStayOut(t *testing.T) {
	everyWay(t, 0, func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer)) {
		c, n := openHooked(t, cfg)
		ps := way(t, c, 90)
		for i, p := range ps {
			n.keep[uintptr(p)] = i%3 == 0
		}
		back(c, ps)
		if st := c.Stats(); st.InUse != 30 {
			t.Errorf("%d in use after 30 of 90 were kept", st.InUse)
		}
		again := way(t, c, 300)
		for _, p := range again {
			if n.keep[uintptr(p)] {
				t.Errorf("%p was kept, and handed out", p)
			}
		}
		back(c, again)
		c.Shrink()
		same(t, "Close with kept objects", c.Close(), ErrBusy)
		for addr, kept := range n.keep {
			if kept {
				n.keep[addr] = false
				c.slabs.free(addr)
			}
		}
	})
}

// With InitOnAlloc objects come zeroed, on every way.
func TestInitOnAlloc(t *testing.T) {
	everyWay(t, InitOnAlloc, func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer)) {
		cfg.Size = 52
		c := open(t, nil, cfg)
		for range 3 {
			ps := way(t, c, 150)
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

// With InitOnFree nothing of an object outlives Free, not even in a slab: only the
// free pointer is there.
func TestInitOnFree(t *testing.T) {
	everyWay(t, InitOnFree, func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer)) {
		if sanitized {
			t.Skip("the sanitizer doesn't let us look at free objects")
		}
		c := open(t, nil, cfg)
		fp := c.layout.fp
		for range 3 {
			ps := way(t, c, 150)
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

// The Alloc hook sees the object as the caller will, zeroed if he asked for that.
func TestAllocHookSeesZeroes(t *testing.T) {
	dirty := 0
	c := open(t, nil, Config{Size: 64, Hooks: hooks.Hooks{Alloc: func(o hooks.Object) {
		if !zeroed(mem.Ptr(o.Addr), o.Size) {
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

// A constructor runs once for every object, however often that is allocated.
func TestConstructorRunsOncePerObject(t *testing.T) {
	everyWay(t, 0, func(t *testing.T, cfg Config, way func(*testing.T, *Cache, int) []unsafe.Pointer, back func(*Cache, []unsafe.Pointer)) {
		made := map[unsafe.Pointer]int{}
		cfg.Ctor = func(p unsafe.Pointer) { made[p]++; paint(p, 64, constructed) }
		c := open(t, nil, cfg)
		for range 3 {
			ps := way(t, c, 150)
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

// The pages of a new slab held something else before.
func TestInitOnFreeFreshSlab(t *testing.T) {
	a := newArena(t, arena.Config{})
	before := open(t, a, Config{Size: 64})
	for _, p := range take(t, before, 500) {
		for i := range mem.Bytes(uintptr(p), 64) {
			mem.Bytes(uintptr(p), 64)[i] = 0xaa
		}
		before.Free(p)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	c := open(t, a, Config{Size: 64, Flags: InitOnFree})
	objs := take(t, c, 500)
	for _, p := range objs {
		if !zeroed(p, 64) {
			t.Fatalf("object %p of a fresh slab holds % x", p, mem.Bytes(uintptr(p), 64))
		}
	}
	c.FreeBulk(objs)
}
