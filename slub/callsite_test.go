package slub_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// siteOfFunction returns the sum of the call sites in a function of this package.
func siteOfFunction(name string) (sum slub.CallSite) {
	for _, s := range slub.CallSites() {
		if strings.HasSuffix(s.Function, "slub_test."+name) {
			sum.Objects += s.Objects
			sum.Bytes += s.Bytes
			sum.Allocs += s.Allocs
			sum.File, sum.Line, sum.Function = s.File, s.Line, s.Function
		}
	}
	return sum
}

//go:noinline
func firstSite(t testing.TB, b *slub.Buckets, n int) unsafe.Pointer {
	p, err := b.Malloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

//go:noinline
func bulkSite(t testing.TB, b *slub.Buckets, n int, dst []unsafe.Pointer) {
	if err := b.MallocBulk(n, dst); err != nil {
		t.Fatal(err)
	}
}

//go:noinline
func reallocSite(t testing.TB, b *slub.Buckets, p unsafe.Pointer, n int) unsafe.Pointer {
	p, err := b.Realloc(p, n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each line of the program has exactly the objects and bytes that it has allocated and that are not
// free, of all kinds, however they are freed, and whatever else the caches do for an object.
func TestCallSites(t *testing.T) {
	for name, cfg := range map[string]slub.BucketsConfig{
		"plain":      {},
		"partitions": {Partitions: 2},
		"hooks":      {Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}, Free: func(hooks.Object) bool { return false }}},
		"hardened":   {Hardened: slub.On},
		"cleared":    {Flags: slub.InitOnAlloc | slub.InitOnFree},
		"sampled":    {ProfileRate: everyObject},
		"guarded":    {GuardRate: 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.CallSites = true
			b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), cfg)
			for kind, n := range accountedSizes {
				if testutil.Instrumented && n > 40_000 && name != "plain" {
					continue // to fill so much takes seconds
				}
				for how, free := range accountFrees {
					if how == "Reset" || how == "Close" {
						continue
					}
					before, moved := siteOfFunction("firstSite"), siteOfFunction("reallocSite")
					p := firstSite(t, b, n)
					size := int64(b.Size(p))
					now := siteOfFunction("firstSite")
					if now.Objects != before.Objects+1 || now.Bytes != before.Bytes+size || now.Allocs != before.Allocs+1 {
						t.Fatalf("%s of %d bytes: %+v became %+v", kind, size, before, now)
					}
					free(t, newAccount(t, b, slub.AccountConfig{}), b, p)
					if now = siteOfFunction("firstSite"); now.Objects != before.Objects || now.Bytes != before.Bytes {
						t.Fatalf("%s, when %s has freed it: %+v became %+v", kind, how, before, now)
					}
					if after := siteOfFunction("reallocSite"); after.Bytes != moved.Bytes {
						t.Errorf("%+v became %+v", moved, after)
					}
				}
			}
			dst := make([]unsafe.Pointer, 100)
			before, moved := siteOfFunction("bulkSite"), siteOfFunction("reallocSite")
			bulkSite(t, b, 1000, dst)
			if now := siteOfFunction("bulkSite"); now.Objects != before.Objects+100 || now.Bytes != before.Bytes+100*1024 {
				t.Errorf("bulk: %+v became %+v", before, now)
			}
			dst[0] = reallocSite(t, b, dst[0], 5000)
			if now, after := siteOfFunction("bulkSite"), siteOfFunction("reallocSite"); now.Objects != before.Objects+99 || after.Bytes != moved.Bytes+5120 {
				t.Errorf("after Realloc: %+v and %+v", now, after)
			}
			b.FreeBulk(dst)
			if now, after := siteOfFunction("bulkSite"), siteOfFunction("reallocSite"); now.Bytes != before.Bytes || after.Bytes != moved.Bytes {
				t.Errorf("after FreeBulk: %+v and %+v", now, after)
			}
			a := newAccount(t, b, slub.AccountConfig{})
			sum := func() (bytes int64) {
				for _, s := range slub.CallSites() {
					bytes += s.Bytes
				}
				return bytes
			}
			all := sum()
			for _, n := range accountedSizes {
				p := must(t)(a.Malloc(n))
				if got := sum(); got != all {
					t.Errorf("with an object of an Account, call sites have %d bytes, %d before", got, all)
				}
				a.Free(p)
			}
			if got := sum(); a.Usage() != 0 || got != all {
				t.Errorf("%d bytes are charged to an Account; call sites have %d, %d before", a.Usage(), got, all)
			}
		})
	}
}

// An object whose Alloc hook panics is counted for no line afterwards, whatever its size.
func TestCallSitesHookPanics(t *testing.T) {
	for kind, n := range kinds {
		b := openBuckets(t, nil, slub.BucketsConfig{CallSites: true, Hooks: hooks.Hooks{Alloc: func(hooks.Object) { panic("the hook's") }}})
		before := siteOfFunction("panickingSite")
		panickingSite(b, n)
		if now := siteOfFunction("panickingSite"); now.Objects != before.Objects || now.Bytes != before.Bytes {
			t.Errorf("%s: %+v became %+v", kind, before, now)
		}
	}
}

//go:noinline
func panickingSite(b *slub.Buckets, n int) {
	defer func() { _ = recover() }()
	_, _ = b.Malloc(n)
}

// Goroutines allocate at one line and free at others, and the sum is exact whenever they pause. The
// text has what CallSites has, in the kernel's form.
func TestCallSitesStorm(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{CallSites: true})
	before := siteOfFunction("firstSite")
	rounds := 3000
	if testutil.Instrumented || testing.Short() {
		rounds = 300
	}
	passed := make(chan unsafe.Pointer, 100)
	for phase := range 3 {
		var working sync.WaitGroup
		for w := range 4 {
			working.Go(func() {
				r := rand.New(rand.NewPCG(uint64(phase), uint64(w)))
				for range rounds {
					p := firstSite(t, b, stormSize(r))
					select {
					case passed <- p:
					default:
						b.FreeRCU(p)
					}
					if r.IntN(3) == 0 {
						select {
						case p := <-passed:
							b.Free(p)
						default:
						}
					}
				}
			})
		}
		working.Wait()
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		objects, bytes := int64(0), int64(0)
		for o := range b.Live() {
			objects, bytes = objects+1, bytes+o.Size
		}
		now := siteOfFunction("firstSite")
		if now.Objects-before.Objects != objects || now.Bytes-before.Bytes != bytes {
			t.Errorf("%d objects of %d bytes are in use: %+v became %+v", objects, bytes, before, now)
		}
	}
	now := siteOfFunction("firstSite")
	var text strings.Builder
	if err := slub.WriteCallSites(&text); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%12d %8d %s:%d func:%s\n", now.Bytes, now.Objects, now.File, now.Line, now.Function)
	if !strings.HasPrefix(text.String(), "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n") || !strings.Contains(text.String(), want) {
		t.Errorf("%q is not in %s", want, text.String())
	}
	for len(passed) > 0 {
		b.Free(<-passed)
	}
	if now = siteOfFunction("firstSite"); now.Bytes != before.Bytes || now.Objects != before.Objects {
		t.Errorf("at the end %+v became %+v", before, now)
	}
}

// A cache counts by call site, too, and its aliases don't exist.
func TestCallSitesOfCache(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 48, CallSites: true, Flags: slub.Merge})
	other := open(t, c.Arena(), slub.Config{Size: 48, CallSites: true, Flags: slub.Merge})
	before := siteOfFunction("TestCallSitesOfCache")
	p, q := must(t)(c.Alloc()), must(t)(other.AllocZero())
	now := siteOfFunction("TestCallSitesOfCache")
	if now.Objects != before.Objects+2 || now.Bytes != before.Bytes+96 || c.Aliases() != 0 {
		t.Errorf("%+v became %+v", before, now)
	}
	c.Free(p)
	other.FreeRCU(q)
	same(t, "Barrier", other.Barrier(t.Context()), nil)
	if now = siteOfFunction("TestCallSitesOfCache"); now.Bytes != before.Bytes {
		t.Errorf("%+v became %+v", before, now)
	}
}
