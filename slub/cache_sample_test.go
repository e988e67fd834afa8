package slub_test

import (
	"context"
	"math"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// profileOf sums the records of a cache by the function of this package's tests that allocated.
func profileOf(cache string) map[string]slub.ProfileRecord {
	sum := map[string]slub.ProfileRecord{}
	for _, r := range slub.ReadProfile() {
		if r.Cache != cache {
			continue
		}
		name := siteOf(r.Stack)
		s := sum[name]
		s.AllocObjects += r.AllocObjects
		s.AllocBytes += r.AllocBytes
		s.InUseObjects += r.InUseObjects
		s.InUseBytes += r.InUseBytes
		s.Size, s.Node, s.Group, s.Tag = r.Size, r.Node, r.Group, r.Tag
		sum[name] = s
	}
	return sum
}

// siteOf returns the first function of a stack that is not of package slub.
func siteOf(stack []uintptr) string {
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, "github.com/slubd/slubd/slub.") ||
			strings.HasPrefix(f.Function, "github.com/slubd/slubd/internal/percpu.")
		if !inside || !more {
			return f.Function[strings.LastIndex(f.Function, ".")+1:]
		}
	}
}

func inUse(cache string) (objects int64) {
	for _, r := range profileOf(cache) {
		objects += r.InUseObjects
	}
	return objects
}

//go:noinline
func hotSite(t *testing.T, c *slub.Cache) unsafe.Pointer { return must(t)(c.Alloc()) }

//go:noinline
func leakySite(t *testing.T, c *slub.Cache) unsafe.Pointer { return must(t)(c.Alloc()) }

func must(t *testing.T) func(unsafe.Pointer, error) unsafe.Pointer {
	return func(p unsafe.Pointer, err error) unsafe.Pointer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// near fails the test if an estimate from samples with the given chance is more than seven standard
// deviations away from the truth: that happens once in 10^11 runs.
func near(t *testing.T, what string, got, want int64, chance float64) {
	t.Helper()
	if bound := 7*math.Sqrt(float64(want)*(1-chance)/chance) + 2; math.Abs(float64(got-want)) > bound {
		t.Errorf("%s: the profile has %d, want %d +- %.0f", what, got, want, bound)
	}
}

// A site that frees each object at once, and so never meets an empty sheaf, stands beside one that
// leaks. The profile is right for both.
func TestProfileIsUnbiased(t *testing.T) {
	const rate, size, leaked, hot = 4096, 64, 20_000, 30
	chance := -math.Expm1(-float64(size) / rate)
	for _, flags := range []slub.Flags{0, slub.NoSheaves, slub.InitOnAlloc | slub.InitOnFree} {
		name := "unbiased-" + string('a'+rune(flags%26))
		c := newCache(t, slub.Config{Name: name, Size: size, ProfileRate: rate, Flags: flags})
		before := profileOf(name) // of the test's earlier runs in this process
		var objs []unsafe.Pointer
		for range leaked {
			objs = append(objs, leakySite(t, c))
			for range hot {
				c.Free(hotSite(t, c))
			}
		}
		p := profileOf(name)
		near(t, name+" leaky, allocated", p["leakySite"].AllocObjects-before["leakySite"].AllocObjects, leaked, chance)
		near(t, name+" leaky, in use", p["leakySite"].InUseObjects, leaked, chance)
		near(t, name+" hot, allocated", p["hotSite"].AllocObjects-before["hotSite"].AllocObjects, leaked*hot, chance)
		if got := p["hotSite"].InUseObjects; got != 0 {
			t.Errorf("%s: %d objects of the hot site are in use", name, got)
		}
		if got, want := p["leakySite"].InUseBytes, p["leakySite"].InUseObjects*size; math.Abs(float64(got-want)) > 8*size {
			t.Errorf("%s: %d bytes in use, want %d", name, got, want)
		}
		for _, obj := range objs {
			c.Free(obj)
		}
		if got := inUse(name); got != 0 {
			t.Errorf("%s: %d objects are in use after the last Free", name, got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// newCache makes a cache of the default arena.
func newCache(t *testing.T, cfg slub.Config) *slub.Cache {
	t.Helper()
	c, err := slub.New(nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everyObject is a rate at which each object is sampled.
const everyObject = 1

// An object is in use until its memory can serve another allocation, whichever way it is freed, and
// counts once.
func TestSampledUntilFree(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const n = 50
	domain := new(rcu.Domain)
	a, err := arena.New(arena.Config{Name: "sampled"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for way, w := range map[string]struct {
		free  func(c *slub.Cache, objs []unsafe.Pointer)
		later bool // they are in use until Barrier
	}{
		"Free": {func(c *slub.Cache, objs []unsafe.Pointer) {
			for _, p := range objs {
				c.Free(p)
			}
		}, false},
		"FreeBulk": {func(c *slub.Cache, objs []unsafe.Pointer) { c.FreeBulk(objs) }, false},
		"FreeRCU": {func(c *slub.Cache, objs []unsafe.Pointer) {
			for _, p := range objs {
				c.FreeRCU(p)
			}
		}, true},
		"FreeRCUNoWait": {func(c *slub.Cache, objs []unsafe.Pointer) {
			for _, p := range objs {
				c.FreeRCUNoWait(p)
			}
		}, true},
		"FreeDeferred": {func(c *slub.Cache, objs []unsafe.Pointer) {
			for _, p := range objs {
				c.FreeDeferred(p)
			}
		}, false}, // a timer may drain the list at any time
		"Local": {func(c *slub.Cache, objs []unsafe.Pointer) {
			l, err := c.NewLocal(0)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for _, p := range objs {
				l.Free(p)
			}
		}, false},
		"Prefilled": {func(c *slub.Cache, objs []unsafe.Pointer) {
			loan, err := c.Prefill(1)
			if err != nil {
				t.Fatal(err)
			}
			defer loan.Return()
			for _, p := range objs {
				if loan.Free(p) {
					t.Error("a prefilled sheaf took a sampled object")
				} else {
					c.Free(p)
				}
			}
		}, false},
	} {
		for kind, cfg := range map[string]slub.Config{
			"plain":    {Size: 96},
			"large":    {Size: 5000},
			"typesafe": {Size: 96, Flags: slub.TypesafeByRCU},
			"cleared":  {Size: 200, Flags: slub.InitOnFree},
			"ctor":     {Size: 96, Ctor: func(p unsafe.Pointer) { *(*uint64)(p) = 7 }},
			"dtor":     {Size: 96, RCUDtor: func(p unsafe.Pointer) { *(*uint64)(p) = 8 }},
		} {
			name := way + "-" + kind
			cfg.Name, cfg.ProfileRate, cfg.Domain = name, everyObject, domain
			c, err := slub.New(a, cfg)
			if err != nil {
				t.Fatal(err)
			}
			reader := domain.Enter()
			objs := make([]unsafe.Pointer, n)
			for i := range objs {
				if i%2 == 0 {
					objs[i] = must(t)(c.Alloc())
				} else if err := c.AllocBulk(objs[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if got := inUse(name); got != n {
				t.Errorf("%s: %d objects in use, want %d", name, got, n)
			}
			w.free(c, objs)
			if got := inUse(name); w.later && got != n || !w.later && way != "FreeDeferred" && got != 0 {
				t.Errorf("%s: %d objects in use after they were freed", name, got)
			}
			reader.Exit()
			if err := c.Barrier(ctx); err != nil {
				t.Error(err)
			}
			if got := inUse(name); got != 0 {
				t.Errorf("%s: %d objects in use after Barrier", name, got)
			}
			if st := c.Stats(); st.InUse != 0 {
				t.Errorf("%s: Stats counts %d in use", name, st.InUse)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
