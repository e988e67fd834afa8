package slub

import (
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// What was written over addresses in a sheaf, and is no object of the cache, is reported and never
// handed out, whichever operation takes it from the sheaf. The objects that were in its place are
// the only ones that are lost, also if the reports don't return.
func TestOverwrittenSheaf(t *testing.T) {
	for name, way := range sheafTakers {
		t.Run(name, func(t *testing.T) {
			for what, wrongFor := range wrongAddresses(t) {
				for _, returns := range []bool{true, false} {
					c, reports := openOverwritten(t, way.config, returns)
					pinned(t, 0, func() {
						n, more := 8, 0
						if way.spare { // main becomes the spare
							n, more = c.sheaves.Capacity(), 8
						}
						ps := take(t, c, n+more)
						wrong := wrongFor(c, ps[0])
						freeAll(c, ps[:n])
						overwriteSheaf(t, c, percpu.Main, wrong, 2)
						freeAll(c, ps[n:])
						var got []unsafe.Pointer
						for tries := 0; tries < 8 && len(*reports) < 2; tries++ {
							recovered(func() { got = append(got, way.take(t, c)...) })
						}
						wantSheafReports(t, what, *reports, wrong)
						if slices.Contains(got, mem.Ptr(wrong)) {
							t.Errorf("%s: handed out", what)
						}
						freeAll(c, got)
						c.Shrink()
					})
					if s := c.Stats(); s.InUse != 2 || len(*reports) != 2 {
						t.Errorf("%s, reports return %t: %d objects are in use, %d reports", what, returns, s.InUse, len(*reports))
					}
				}
			}
		})
	}
}

// What lies in the place of an object that was given to FreeRCU gets no destructor. If the report
// doesn't return, the other objects get theirs nevertheless.
func TestOverwrittenSheafOfFreeRCU(t *testing.T) {
	for what, wrongFor := range wrongAddresses(t) {
		for _, returns := range []bool{true, false} {
			destroyed := make(map[uintptr]int)
			c, reports := openOverwritten(t, Config{RCUDtor: func(p unsafe.Pointer) { destroyed[uintptr(p)]++ }}, returns)
			var wrong uintptr
			pinned(t, 0, func() {
				ps := take(t, c, 6)
				for _, p := range ps {
					c.FreeRCU(p)
				}
				wrong = wrongFor(c, ps[0])
				overwriteSheaf(t, c, percpu.RCU, wrong, 2)
			})
			recovered(func() { _ = c.Barrier(t.Context()) })
			same(t, "Barrier", c.Barrier(t.Context()), nil)
			wantSheafReports(t, what, *reports, wrong)
			if len(destroyed) != 4 || destroyed[wrong] != 0 {
				t.Errorf("%s: destroyed were %v", what, destroyed)
			}
			if s := c.Stats(); s.InUse != 2 {
				t.Errorf("%s: %d objects are in use", what, s.InUse)
			}
		}
	}
}

// A flush of what a CPU has goes on with the spare if the report about main doesn't return, and a
// Free that flushes another sheaf does not lose its own object.
func TestOverwrittenSheafOfMany(t *testing.T) {
	for name, then := range map[string]func(c *Cache, rest []unsafe.Pointer){
		"Shrink": func(c *Cache, rest []unsafe.Pointer) { recovered(func() { c.Shrink() }) },
		"Free": func(c *Cache, rest []unsafe.Pointer) {
			for _, p := range rest {
				recovered(func() { c.Free(p) })
			}
		},
	} {
		c, reports := openOverwritten(t, Config{SheafCapacity: 8, BarnFull: None}, false)
		pinned(t, 0, func() {
			n := c.sheaves.Capacity()
			ps := take(t, c, 2*n+1)
			rest := ps[n:]
			freeAll(c, ps[:n])
			if name == "Shrink" { // what is overwritten is main, and the spare is full
				freeAll(c, ps[n:2*n])
				rest = ps[2*n:]
			}
			wrong := uintptr(ps[0]) + 8
			overwriteSheaf(t, c, percpu.Main, wrong, 2)
			then(c, rest)
			wantSheafReports(t, name, *reports, wrong)
			if name == "Shrink" {
				freeAll(c, rest)
			}
			c.Shrink()
		})
		if s := c.Stats(); s.InUse != 2 {
			t.Errorf("%s: %d objects are in use", name, s.InUse)
		}
	}
}

// SetSheafCapacity goes on with the other CPUs if a report about what one holds doesn't return.
func TestOverwrittenSheafOfOtherCapacity(t *testing.T) {
	if percpu.NumCPU() < 2 {
		t.Log("there is no other CPU")
		return
	}
	c, reports := openOverwritten(t, Config{SheafCapacity: 8}, false)
	for cpu := range 2 {
		pinned(t, cpu, func() { freeAll(c, take(t, c, 8)) })
	}
	overwriteSheaf(t, c, percpu.Main, 8, 2)
	n := 2 * c.sheaves.Capacity()
	recovered(func() { _ = c.SetSheafCapacity(n) })
	wantSheafReports(t, "SetSheafCapacity", *reports, 8)
	for cpu := range 2 {
		st := c.stacks.LockCPU(cpu, percpu.Main)
		if st.Cap() != n {
			t.Errorf("CPU %d: main has %d places, want %d", cpu, st.Cap(), n)
		}
		st.Unlock()
	}
}

// What a Prefill has dropped still counts as in use if a hook doesn't return afterwards.
func TestOverwrittenSheafAndHook(t *testing.T) {
	armed := false
	cfg := Config{SheafCapacity: 8, BarnFull: None, Hooks: hooks.Hooks{Alloc: func(hooks.Object) {
		if armed {
			armed = false
			panic("hook")
		}
	}}}
	c, reports := openOverwritten(t, cfg, true)
	pinned(t, 0, func() {
		n := c.sheaves.Capacity()
		ps := take(t, c, n+8)
		freeAll(c, ps[:n])
		wrong := uintptr(ps[0]) + 8
		overwriteSheaf(t, c, percpu.Main, wrong, 2)
		freeAll(c, ps[n:])
		armed = true
		recovered(func() { _, _ = c.Prefill(n) })
		wantSheafReports(t, "Prefill", *reports, wrong)
	})
	same(t, "Barrier", c.Barrier(t.Context()), nil)
	if s := c.Stats(); s.InUse != 2 || armed {
		t.Errorf("%d objects are in use", s.InUse)
	}
}

// Malloc looks as well.
func TestOverwrittenSheafOfMalloc(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{Name: "sheaves", Hardened: On, ProfileRate: None, GuardRate: None})
	pinned(t, 0, func() {
		ps := []unsafe.Pointer{malloc(t, b, 64), malloc(t, b, 64)}
		c := b.cacheOf(ps[0])
		freeAll(c, ps)
		wrong := uintptr(ps[0]) + 8
		overwriteSheaf(t, c, percpu.Main, wrong, 1)
		r := recovered(func() { _, _ = b.Malloc(64) })
		if r == nil || r.Kind != hooks.SheafCorrupt || !strings.Contains(r.Error(), "8 bytes into the object of 64") {
			t.Errorf("report: %v", r)
		}
		b.Free(malloc(t, b, 64))
		if s := c.Stats(); s.InUse != 1 {
			t.Errorf("%d objects are in use", s.InUse)
		}
	})
}

// openOverwritten opens a hardened cache all of whose objects go through sheaves, and keeps its
// reports. There is one node: with several, AllocNode leaves alone what lies on none.
func openOverwritten(t *testing.T, cfg Config, returns bool) (*Cache, *[]*hooks.Report) {
	reports := new([]*hooks.Report)
	cfg.Name, cfg.Size, cfg.Hardened, cfg.ProfileRate, cfg.GuardRate = "sheaves", 64, On, None, None
	cfg.Hooks.Report = func(r *hooks.Report) {
		if *reports = append(*reports, r); !returns {
			panic(r)
		}
	}
	return open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 1)}), cfg), reports
}

// recovered calls f, and returns the report that it panics with.
func recovered(f func()) (r *hooks.Report) {
	defer func() { r, _ = recover().(*hooks.Report) }()
	f()
	return nil
}

// A sheafTaker takes what a CPU's main sheaf has, or its spare, of a cache with the config.
type sheafTaker struct {
	config Config
	spare  bool
	take   func(t *testing.T, c *Cache) []unsafe.Pointer // what its caller has then
}

var sheafTakers = map[string]sheafTaker{
	"Alloc":                  {take: func(t *testing.T, c *Cache) []unsafe.Pointer { return take(t, c, 1) }},
	"Alloc with InitOnAlloc": {config: Config{Flags: InitOnAlloc}, take: func(t *testing.T, c *Cache) []unsafe.Pointer { return take(t, c, 1) }},
	"Alloc with a hook": {config: Config{Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}}},
		take: func(t *testing.T, c *Cache) []unsafe.Pointer { return take(t, c, 1) }},
	"AllocZero": {take: func(t *testing.T, c *Cache) []unsafe.Pointer { return one(t, c.AllocZero) }},
	"AllocNode": {take: func(t *testing.T, c *Cache) []unsafe.Pointer {
		node := c.Arena().Topology().Nodes()[0]
		return one(t, func() (unsafe.Pointer, error) { return c.AllocNode(node) })
	}},
	"AllocNoWait": {take: func(t *testing.T, c *Cache) []unsafe.Pointer { return one(t, c.AllocNoWait) }},
	"AllocBulk": {take: func(t *testing.T, c *Cache) []unsafe.Pointer {
		ps := make([]unsafe.Pointer, 12)
		same(t, "AllocBulk", c.AllocBulk(ps), nil)
		return ps
	}},
	"Prefill": {config: Config{SheafCapacity: 8, BarnFull: None}, spare: true, take: func(t *testing.T, c *Cache) (ps []unsafe.Pointer) {
		lent := prefill(t, c, c.sheaves.Capacity())
		for p := lent.Alloc(); p != nil; p = lent.Alloc() {
			ps = append(ps, p)
		}
		lent.Return()
		return ps
	}},
	"Shrink": {take: func(_ *testing.T, c *Cache) []unsafe.Pointer { c.Shrink(); return nil }},
}

// one allocates an object.
func one(t *testing.T, alloc func() (unsafe.Pointer, error)) []unsafe.Pointer {
	p, err := alloc()
	same(t, "allocation", err, nil)
	return []unsafe.Pointer{p}
}

// wrongAddresses make what is no object of a cache, where one of its objects is p.
func wrongAddresses(t *testing.T) map[string]func(c *Cache, p unsafe.Pointer) uintptr {
	return map[string]func(*Cache, unsafe.Pointer) uintptr{
		"any number":     func(*Cache, unsafe.Pointer) uintptr { return 0x5a5a5a5a5a5a5a58 },
		"a small number": func(*Cache, unsafe.Pointer) uintptr { return 1 },
		"a word inside":  func(_ *Cache, p unsafe.Pointer) uintptr { return uintptr(p) + 8 },
		"an odd address": func(_ *Cache, p unsafe.Pointer) uintptr { return uintptr(p) + 1 },
		"another cache's": func(c *Cache, _ unsafe.Pointer) uintptr {
			other := open(t, c.Arena(), Config{Size: 64})
			theirs := take(t, other, 1)[0]
			t.Cleanup(func() { other.Free(theirs) })
			return uintptr(theirs)
		},
	}
}

// overwriteSheaf replaces n objects on top of CPU 0's stack, and frees them at the end of the test,
// before the cache is closed.
func overwriteSheaf(t *testing.T, c *Cache, kind percpu.Kind, with uintptr, n int) {
	t.Helper()
	st := c.stacks.LockCPU(0, kind)
	defer st.Unlock()
	if st.Size() < n {
		t.Fatalf("the stack has %d objects", st.Size())
	}
	top := st.Objects()[st.Size()-n : st.Size()]
	lost := slices.Clone(top)
	t.Cleanup(func() { c.slabs.FreeBulk(lost) })
	for i := range top {
		top[i] = mem.Ptr(with)
	}
}

// wantSheafReports wants two reports about what was written over addresses in a sheaf.
func wantSheafReports(t *testing.T, what string, reports []*hooks.Report, wrong uintptr) {
	t.Helper()
	if len(reports) != 2 {
		t.Errorf("%s: reports %v", what, reports)
	}
	for _, r := range reports {
		if r.Kind != hooks.SheafCorrupt || r.Addr != wrong || !strings.Contains(r.Detail, "a sheaf had it") {
			t.Errorf("%s: %v", what, r)
		}
	}
}
