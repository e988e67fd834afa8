//go:build linux && cgo && !race && !asan

package slub_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// largeArena has room for a pool of guarded pages.
var largeArena = arena.Config{Span: 64 << 20}

// A guarded object is one of the cache's in every other respect.
func TestGuardedObjectIsOrdinary(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	for name, cfg := range map[string]slub.Config{
		"plain":       {Size: 64},
		"odd":         {Size: 61},
		"linked":      {Size: 29, FreePtrOffset: slub.At(24)}, // up to byte 32
		"page":        {Size: mem.PageSize},
		"aligned":     {Size: 100, Align: 256},
		"cleared":     {Size: 200, Flags: slub.InitOnFree},
		"zeroed":      {Size: 72, Flags: slub.InitOnAlloc},
		"noSheaves":   {Size: 64, Flags: slub.NoSheaves},
		"constructed": {Size: 64, Ctor: func(p unsafe.Pointer) { fillTestBytes(p, 64) }},
		"destroyed":   {Size: 64, RCUDtor: func(p unsafe.Pointer) { *(*uint64)(p) = 8 }},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := slub.NewGroup(slub.GroupConfig{Name: "guarded-" + name})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = g.Close() })
			cfg.GuardRate, cfg.Group, cfg.Domain = everyGuarded, g, new(rcu.Domain)
			c := open(t, newArena(t, largeArena), cfg)
			for round := range 3 {
				testOrdinary(t, c, cfg, g)
				if round == 0 {
					c.Shrink()
				}
			}
			if err := c.Barrier(context.Background()); err != nil {
				t.Fatal(err)
			}
			if c.Shrink() != 0 {
				t.Error("slabs are left")
			}
			if used := groupUsed(g); used != 0 {
				t.Errorf("%d bytes are charged to the group when nothing is in use", used)
			}
			if s := slub.ReadGuardStats(); s.Objects != 0 {
				t.Errorf("%d objects are guarded when none is in use", s.Objects)
			}
		})
	}
}

func fillTestBytes(p unsafe.Pointer, n int) {
	for i := range n {
		*mem.At[byte](uintptr(p) + uintptr(i)) = byte(i)
	}
}

// testOrdinary allocates some objects and frees them in every way.
func testOrdinary(t *testing.T, c *slub.Cache, cfg slub.Config, g *slub.Group) {
	t.Helper()
	const n = 20
	var objs []unsafe.Pointer
	for range n {
		p := allocGuarded(t, c)
		if !isGuarded(p) {
			t.Fatalf("object %p is not guarded", p)
		}
		if cfg.Align > 0 && uintptr(p)%uintptr(cfg.Align) != 0 {
			t.Errorf("object %p is not aligned", p)
		}
		content := mem.Bytes(uintptr(p), uintptr(cfg.Size))
		for i, b := range content {
			if want := byte(i); cfg.Ctor != nil && b != want {
				t.Fatalf("byte %d of a constructed object is %d", i, b)
			}
			if cfg.Flags&(slub.InitOnAlloc|slub.InitOnFree) != 0 && b != 0 {
				t.Fatalf("byte %d of a cleared object is %d", i, b)
			}
		}
		if cfg.Ctor == nil {
			for i := range content {
				content[i] = 0xee
			}
		}
		if o, ok := slub.Owner(unsafe.Add(p, cfg.Size-1)); !ok || o.Addr != uintptr(p) || o.Cache != c || o.Group != g {
			t.Errorf("the owner of the last byte of %p is %v, %v", p, o, ok)
		}
		if _, ok := slub.Owner(unsafe.Add(p, -1)); ok {
			t.Errorf("the byte before %p has an owner", p)
		}
		objs = append(objs, p)
	}
	if used := groupUsed(g); used < n*mem.PageSize {
		t.Errorf("%d bytes are charged to the group for %d pages", used, n)
	}
	live := map[uintptr]bool{}
	for o := range c.Live() {
		live[o.Addr] = true
	}
	for _, p := range objs {
		if !live[uintptr(p)] {
			t.Errorf("object %p is not live", p)
		}
	}
	if s := c.Stats(); s.InUse != n {
		t.Errorf("%d objects are in use, want %d", s.InUse, n)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Free(objs[0])
	c.FreeRCU(objs[1])
	c.FreeRCUNoWait(objs[2])
	c.FreeDeferred(objs[3])
	c.FreeBulk(objs[4:])
	if err := c.Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.InUse != 0 {
		t.Errorf("%d objects are in use at the end", s.InUse)
	}
}

// Objects that can't be guarded are not: those that readers may read when they are free, and those
// larger than a page.
func TestNeverGuarded(t *testing.T) {
	for name, cfg := range map[string]slub.Config{
		"typesafe": {Size: 64, Flags: slub.TypesafeByRCU},
		"large":    {Size: mem.PageSize + 8},
		"none":     {Size: 64, GuardRate: slub.None},
	} {
		if cfg.GuardRate == 0 {
			cfg.GuardRate = everyGuarded
		}
		c := open(t, newArena(t, largeArena), cfg)
		if p := allocGuarded(t, c); isGuarded(p) {
			t.Errorf("%s: an object is guarded", name)
		} else {
			c.Free(p)
		}
	}
}

// When the pool is full, and in an arena with a limit that is too low for one, allocations go on
// without guards, and are counted.
func TestGuardsRunOut(t *testing.T) {
	c := open(t, newArena(t, largeArena), slub.Config{Size: 64, GuardRate: everyGuarded})
	before := slub.ReadGuardStats()
	var objs []unsafe.Pointer
	for range 1000 {
		objs = append(objs, allocGuarded(t, c))
	}
	s := slub.ReadGuardStats()
	// From three quarters on a call stack gets no more; the call site has a few, by its ways
	// through the allocator.
	if s.Objects < 191 || s.Objects > 195 || s.Skipped == before.Skipped {
		t.Errorf("%d objects are guarded, %d skipped", s.Objects, s.Skipped-before.Skipped)
	}
	c.FreeBulk(objs)

	small := largeArena
	small.Limit = 32 << 20
	c = open(t, newArena(t, small), slub.Config{Size: 64, GuardRate: everyGuarded})
	if p := allocGuarded(t, c); isGuarded(p) {
		t.Error("an object of a small arena is guarded")
	} else {
		c.Free(p)
	}
}

// The profile and the guards share the picks of a cache, and the estimates of the profile stay
// right.
func TestProfileBesideGuards(t *testing.T) {
	const size, n = 64, 40_000
	c := newCache(t, slub.Config{Name: "both", Size: size, ProfileRate: 4096, GuardRate: 4096})
	before := profileOf("both") // of the test's earlier runs in this process
	guarded := slub.ReadGuardStats().Allocated
	for range n {
		c.Free(hotSite(t, c))
	}
	p := profileOf("both")
	near(t, "allocated", p["hotSite"].AllocObjects-before["hotSite"].AllocObjects, n, 1.0/64*0.9)
	if slub.ReadGuardStats().Allocated == guarded {
		t.Error("no object was guarded")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// AllocBulk guards as many of its objects as Alloc would, one of a call at most.
func TestBulkIsGuarded(t *testing.T) {
	const size, mean, bulk, rounds = 64, 1000, 16, 200_000
	c := open(t, newArena(t, largeArena), slub.Config{Size: size, GuardRate: size * mean})
	before := slub.ReadGuardStats()
	objs := make([]unsafe.Pointer, bulk)
	for range rounds {
		if err := c.AllocBulk(objs); err != nil {
			t.Fatal(err)
		}
		c.FreeBulk(objs)
	}
	got := float64(slub.ReadGuardStats().Allocated - before.Allocated)
	want := rounds * -math.Expm1(-float64(bulk)/mean)
	// Seven standard deviations: less than one failure in 10^11 runs.
	if bound := 7 * math.Sqrt(want); math.Abs(got-want) > bound {
		t.Errorf("%.0f objects of %d are guarded, want %.0f +- %.0f", got, bulk*rounds, want, bound)
	}
}

// A Local, a Prefilled, AllocNode and Realloc pass guarded objects on.
func TestGuardedByOtherWays(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	// A sheaf has fewer objects than a pool.
	c := open(t, newArena(t, largeArena), slub.Config{Size: 64, GuardRate: everyGuarded, SheafCapacity: 100})
	l, err := c.NewLocal(0)
	if err != nil {
		t.Fatal(err)
	}
	p := must(t)(l.Alloc())
	if !isGuarded(p) {
		t.Error("an object of a Local is not guarded")
	}
	l.Free(p)
	l.Close()
	loan, err := c.Prefill(8)
	if err != nil {
		t.Fatal(err)
	}
	p = loan.Alloc()
	if !isGuarded(p) {
		t.Error("an object of a Prefilled is not guarded")
	}
	c.Free(p)
	loan.Return()
	p = must(t)(c.AllocNode(numa.System().Nodes()[0]))
	if !isGuarded(p) {
		t.Error("an object of AllocNode is not guarded")
	}
	c.Free(p)

	b := openBuckets(t, c.Arena(), slub.BucketsConfig{GuardRate: everyGuarded})
	p = must(t)(b.Malloc(100))
	fillTestBytes(p, 100)
	q := must(t)(b.Realloc(p, 112))
	if q != p || !isGuarded(q) {
		t.Error("Realloc within the room of a guarded object moves it")
	}
	q = must(t)(b.Realloc(p, 1000))
	for i, x := range mem.Bytes(uintptr(q), 100) {
		if x != byte(i) {
			t.Fatalf("byte %d is %d after Realloc", i, x)
		}
	}
	b.Free(q)
}

// Threads allocate, free and hand over objects of many kinds while some of them are guarded.
// Nothing is reported, no content is lost, and nothing is left.
func TestGuardStorm(t *testing.T) {
	operations := int64(10_000_000)
	if testing.Short() {
		operations = 1_000_000
	}
	domain := new(rcu.Domain)
	a := newArena(t, largeArena)
	var caches []*slub.Cache
	for _, cfg := range []slub.Config{{Size: 24}, {Size: 64}, {Size: 200, Flags: slub.InitOnFree}, {Size: 1000}, {Size: 61}} {
		cfg.GuardRate, cfg.Domain = 64<<10, domain
		caches = append(caches, open(t, a, cfg))
	}
	before := slub.ReadGuardStats()
	var done atomic.Int64
	var wg sync.WaitGroup
	type object struct {
		p     unsafe.Pointer
		cache int
	}
	exchange := make(chan object, 1024)
	for worker := range max(2, runtime.GOMAXPROCS(0)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			var held []object
			free := func(o object) {
				if *(*uint64)(o.p) != uint64(uintptr(o.p)) {
					t.Errorf("object %p has the content %#x", o.p, *(*uint64)(o.p))
				}
				switch c := caches[o.cache]; r.IntN(8) {
				case 0:
					c.FreeRCU(o.p)
				case 1:
					c.FreeDeferred(o.p)
				default:
					c.Free(o.p)
				}
			}
			for done.Load() < operations && !t.Failed() {
				for range 1000 {
					i := r.IntN(len(caches))
					p, err := caches[i].Alloc()
					if err != nil {
						t.Error(err)
						return
					}
					*(*uint64)(p) = uint64(uintptr(p))
					held = append(held, object{p, i})
					if len(held) < 100 {
						continue
					}
					k := r.IntN(len(held))
					o := held[k]
					held[k] = held[len(held)-1]
					held = held[:len(held)-1]
					select {
					case exchange <- o:
					case other := <-exchange:
						free(other)
						free(o)
					}
				}
				done.Add(2000)
			}
			for _, o := range held {
				free(o)
			}
		}()
	}
	wg.Wait()
	close(exchange)
	for o := range exchange {
		caches[o.cache].Free(o.p)
	}
	for _, c := range caches {
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	s := slub.ReadGuardStats()
	if s.Reports != before.Reports || s.Unguarded != before.Unguarded || s.Objects != 0 {
		t.Errorf("%d reports, %d objects unguarded, %d in use", s.Reports-before.Reports, s.Unguarded-before.Unguarded, s.Objects)
	}
	t.Logf("%d objects were guarded, %d skipped", s.Allocated-before.Allocated, s.Skipped-before.Skipped)
	if n := s.Allocated - before.Allocated; n < 1000 {
		t.Errorf("only %d objects were guarded", n)
	}
}

//go:noinline
func freeFirst(c *slub.Cache, p unsafe.Pointer) { c.FreeRCU(p) }

// Of an object that a Free hook has kept, a report names the free that ended its use, and not the
// one before.
func TestKeptObjectIsFreedLater(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	keep := true
	var reports []*hooks.Report
	c := open(t, newArena(t, largeArena), slub.Config{Size: 64, GuardRate: everyGuarded, Domain: new(rcu.Domain),
		Hooks: hooks.Hooks{
			Free:   func(hooks.Object) bool { return keep },
			Report: func(r *hooks.Report) { reports = append(reports, r) },
		}})
	p := aligned(t, c, true)
	freeFirst(c, p)
	if err := c.Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	keep = false
	poke(uintptr(p) + 200) // in its page, beside it
	freeGuarded(c, p)
	if len(reports) != 1 || !strings.Contains(reports[0].History, "freeGuarded") || strings.Contains(reports[0].History, "freeFirst") {
		t.Errorf("reports: %+v", reports)
	}
	for o := range c.Live() {
		c.Free(mem.Ptr(o.Addr))
	}
}
