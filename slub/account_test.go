package slub_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

func newAccount(t testing.TB, b *slub.Buckets, cfg slub.AccountConfig) *slub.Account {
	t.Helper()
	a, err := b.NewAccount(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// accountedSizes are numbers of bytes of each kind of object that an Account allocates.
var accountedSizes = map[string]int{"a small class": 100, "a large class": maxClass, "a page class": 200_000, "a run": 2 * mib, "a mapping": 5 * mib}

// accountFrees are the ways to free an object of an Account. Each returns when it is free.
var accountFrees = map[string]func(t *testing.T, a *slub.Account, b *slub.Buckets, p unsafe.Pointer){
	"Account.Free": func(_ *testing.T, a *slub.Account, _ *slub.Buckets, p unsafe.Pointer) { a.Free(p) },
	"Reset":        func(_ *testing.T, a *slub.Account, _ *slub.Buckets, _ unsafe.Pointer) { a.Reset() },
	"Close":        func(_ *testing.T, a *slub.Account, _ *slub.Buckets, _ unsafe.Pointer) { a.Close() },
	"Buckets.Free": func(_ *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) { b.Free(p) },
	"FreeBulk": func(_ *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.FreeBulk([]unsafe.Pointer{p})
	},
	"FreeBytes": func(_ *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.FreeBytes(unsafe.Slice((*byte)(p), 1))
	},
	"a larger Realloc": func(t *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.Free(must(t)(b.Realloc(p, 2*b.Size(p))))
	},
	"Cache.Free": func(_ *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		if c := cacheOf(b, p); c != nil {
			c.Free(p)
		} else {
			b.Free(p)
		}
	},
	"another Account": func(t *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		newAccount(t, b, slub.AccountConfig{}).Free(p)
	},
	"another goroutine": func(_ *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		done := make(chan struct{})
		go func() { b.Free(p); close(done) }()
		<-done
	},
	"FreeRCU": func(t *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.FreeRCU(p)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
	},
	"FreeRCUNoWait": func(t *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.FreeRCUNoWait(p)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
	},
	"FreeDeferred": func(t *testing.T, _ *slub.Account, b *slub.Buckets, p unsafe.Pointer) {
		b.FreeDeferred(p)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
	},
}

// Every object is charged for the bytes that it has room for, until it is free in whichever way;
// so in Buckets that do more for an object, too.
func TestAccountCharges(t *testing.T) {
	nothing := func(hooks.Object) {}
	for name, cfg := range map[string]slub.BucketsConfig{
		"plain":      {},
		"partitions": {Partitions: 4},
		"hooks":      {Hooks: hooks.Hooks{Alloc: nothing, Free: func(hooks.Object) bool { return false }}},
		"cleared":    {Flags: slub.InitOnAlloc | slub.InitOnFree},
		"hardened":   {Hardened: slub.On},
		"sampled":    {ProfileRate: everyObject},
		"guarded":    {GuardRate: 1},
		"destructor": {RCUDtor: func(unsafe.Pointer) {}},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), cfg)
			for kind, n := range accountedSizes {
				if testutil.Instrumented && n > 40_000 && name != "plain" {
					continue // to fill so much takes seconds
				}
				for how, free := range accountFrees {
					a := newAccount(t, b, slub.AccountConfig{Name: "one"})
					for round := range 3 {
						p := must(t)(a.Malloc(n))
						*(*byte)(p), *(*byte)(unsafe.Add(p, n-1)) = 1, 1
						if got, want := a.Usage(), int64(b.Size(p)); got != want || want < int64(n) {
							t.Fatalf("%s: %d of %d bytes are charged", kind, got, want)
						}
						if o, ok := slub.Owner(p); !ok || o.Buckets != b || !o.Charged || o.Account != "one" {
							t.Errorf("%s: the owner is %+v", kind, o)
						}
						if how == "Close" && round < 2 {
							a.Free(p)
							continue
						}
						free(t, a, b, p)
						if got := a.Usage(); got != 0 {
							t.Fatalf("%s: %d bytes are charged when %s has freed it", kind, got, how)
						}
					}
					a.Close()
				}
			}
			if s := b.Stats(); s.Objects != 0 {
				t.Errorf("%d objects are in use", s.Objects)
			}
		})
	}
}

// What is not allocated by an Account is charged to none, and an Account frees it as well.
func TestAccountOfOthers(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{})
	a, other := newAccount(t, b, slub.AccountConfig{}), newAccount(t, b, slub.AccountConfig{})
	mine, others := must(t)(a.Malloc(64)), must(t)(other.Malloc(64))
	none := malloc(t, b, 64)
	direct := must(t)(cacheOf(b, mine).Alloc()) // of the cache for Accounts, without one
	for _, p := range []unsafe.Pointer{none, direct} {
		if o, ok := slub.Owner(p); !ok || o.Charged {
			t.Errorf("the owner is %+v", o)
		}
		a.Free(p)
	}
	if a.Usage() != 64 || other.Usage() != 64 {
		t.Errorf("%d and %d bytes are charged", a.Usage(), other.Usage())
	}
	a.Free(others)
	if a.Usage() != 64 || other.Usage() != 0 {
		t.Errorf("%d and %d bytes are charged after a free by the other one", a.Usage(), other.Usage())
	}
	a.Free(nil)
	a.Free(must(t)(a.Malloc(0)))
	a.Free(mine)
	if a.Usage() != 0 {
		t.Errorf("%d bytes are charged at the end", a.Usage())
	}
}

// An Account has exactly the bytes of its limit, in objects of all sizes, and what has been freed
// can be allocated again.
func TestAccountLimit(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{})
	for kind, n := range accountedSizes {
		size := int64(b.Size(oneObject(t, b, n)))
		a := newAccount(t, b, slub.AccountConfig{Name: "conn 7", Limit: 3*size + 8})
		for range 3 {
			var ps []unsafe.Pointer
			for range 3 {
				ps = append(ps, must(t)(a.Malloc(n)))
			}
			_, err := a.Malloc(n)
			var ae *slub.AccountError
			if !errors.Is(err, slub.ErrAccountLimit) || !errors.Is(err, slub.ErrNoMemory) || !errors.As(err, &ae) {
				t.Fatalf("%s: %v", kind, err)
			}
			if want := (slub.AccountError{Account: "conn 7", Limit: 3*size + 8, InUse: 3 * size, Bytes: size}); *ae != want || !strings.Contains(err.Error(), `"conn 7"`) {
				t.Errorf("%s: %v", kind, err)
			}
			eight := must(t)(a.Malloc(8))
			if _, err := a.Malloc(1); !errors.Is(err, slub.ErrAccountLimit) || a.Usage() != a.Limit() {
				t.Errorf("%s: %v with %d of %d bytes charged", kind, err, a.Usage(), a.Limit())
			}
			b.Free(ps[0])
			a.Free(must(t)(a.Malloc(n))) // Malloc has to notice the free
			a.Free(ps[1])
			b.Free(ps[2])
			b.Free(eight)
		}
	}
	none := newAccount(t, b, slub.AccountConfig{Limit: slub.None})
	if _, err := none.Malloc(1); !errors.Is(err, slub.ErrAccountLimit) || none.Limit() != 0 {
		t.Error(err)
	}
	free := newAccount(t, b, slub.AccountConfig{})
	for n := range 10 { // also with nothing charged, and of classes that there is no cache of yet
		free.Free(must(t)(free.Malloc(1000 + 150*n)))
	}
	if free.Limit() != slub.Unlimited {
		t.Error(free.Limit())
	}
	for _, n := range []int{-1, 1 << 62} {
		if _, err := free.Malloc(n); err == nil || free.Usage() != 0 {
			t.Errorf("%d bytes: %v, %d are charged", n, err, free.Usage())
		}
	}
}

// The Parent is not charged for what an Account was refused, nor for what Reset has freed.
func TestAccountRefused(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib, Limit: 32 * mib}), slub.BucketsConfig{})
	parent := newGroup(t, slub.GroupConfig{})
	a := newAccount(t, b, slub.AccountConfig{Parent: parent})
	if _, err := a.Malloc(100 * mib); !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	if got := parent.Stats().Bytes; got > mostAhead {
		t.Errorf("%d bytes are charged to the parent for no object", got)
	}
	for range 10 {
		must(t)(a.Malloc(40_000))
	}
	a.Reset()
	if got := parent.Stats().Bytes; got > mostAhead {
		t.Errorf("%d bytes are charged to the parent after Reset", got)
	}
}

// oneObject returns the address of an object that was of n bytes of b, and whose size can be asked.
func oneObject(t *testing.T, b *slub.Buckets, n int) unsafe.Pointer {
	a := newAccount(t, b, slub.AccountConfig{})
	return must(t)(a.Malloc(n))
}

// MallocZero and Bytes are charged as Malloc is.
func TestAccountZeroAndBytes(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{})
	a := newAccount(t, b, slub.AccountConfig{})
	for kind, n := range accountedSizes {
		for range 2 {
			p := must(t)(a.MallocZero(n))
			if !zeroed(p, uintptr(n)) {
				t.Errorf("%s is not zero", kind)
			}
			fill(p, n, 0xa5)
			a.Free(p)
		}
		s, err := a.Bytes(n)
		if err != nil || len(s) != n || int64(cap(s)) != a.Usage() {
			t.Fatalf("%s: %d bytes of %d, %d are charged: %v", kind, len(s), cap(s), a.Usage(), err)
		}
		if b.FreeBytes(s); a.Usage() != 0 {
			t.Errorf("%s: %d bytes are charged", kind, a.Usage())
		}
	}
}

// The Parent is charged for no less than the Account, and little more, and its limit holds.
func TestAccountParent(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{})
	all := newGroup(t, slub.GroupConfig{Name: "all", Limit: 100_000})
	tenant := newGroup(t, slub.GroupConfig{Name: "tenant", Parent: all})
	a := newAccount(t, b, slub.AccountConfig{Name: "conn", Parent: tenant, Limit: 200_000})
	in := func(when string) {
		t.Helper()
		if used, got := a.Usage(), tenant.Stats().Bytes; got < used || got > used+mostAhead || all.Stats().Bytes != got {
			t.Errorf("%s: %d bytes are charged to the account, %d to its parent, %d to that one's", when, used, got, all.Stats().Bytes)
		}
	}
	for range 3 {
		var ps []unsafe.Pointer
		var full *slub.GroupError
		for full == nil {
			p, err := a.Malloc(1000)
			if err != nil && !errors.As(err, &full) {
				t.Fatal(err)
			}
			if err == nil {
				ps = append(ps, p)
			}
			in("allocating")
		}
		if full.Refused != "all" || a.Usage()+1024 <= all.Limit() || a.Usage() > all.Limit() {
			t.Errorf("%v with %d bytes charged", full, a.Usage())
		}
		if s := tenant.Stats(); s.Accounts != 1 || !errors.Is(tenant.Close(), slub.ErrGroupBusy) {
			t.Errorf("%+v", s)
		}
		for i, p := range ps {
			if i%3 == 0 {
				b.Free(p)
			} else {
				a.Free(p)
			}
			in("freeing")
		}
		if used := a.Usage(); used != 0 {
			t.Errorf("%d bytes are charged after the last is freed", used)
		}
	}
	left := must(t)(a.Malloc(100))
	b.FreeDeferred(left)
	a.Close()
	if got := tenant.Stats(); got.Bytes != a.Usage() || got.Bytes != 112 {
		t.Errorf("%d bytes are left, %+v", a.Usage(), got)
	}
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	if s := all.Stats(); s.Bytes != 0 || s.Peak > s.Limit || tenant.Stats().Accounts != 0 {
		t.Errorf("%+v %+v", s, tenant.Stats())
	}
}

func TestAccountConfigErrors(t *testing.T) {
	all := newGroup(t, slub.GroupConfig{Name: "all"})
	g := newGroup(t, slub.GroupConfig{Name: "pages", Parent: all})
	sibling := newGroup(t, slub.GroupConfig{Name: "sibling", Parent: all})
	closed, err := slub.NewGroup(slub.GroupConfig{Name: "closed"})
	if err := errors.Join(err, closed.Close()); err != nil {
		t.Fatal(err)
	}
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{Group: g})
	for want, cfg := range map[string]slub.AccountConfig{
		`account "x": AccountConfig.Limit: -2`:     {Name: "x", Limit: -2},
		`AccountConfig.Parent: "pages" is charged`: {Parent: g},
		`x": AccountConfig.Parent: "all" is`:       {Name: "x", Parent: all},
		`AccountConfig.Parent: "all" is charged`:   {Parent: sibling},
		`AccountConfig.Parent: "closed" is closed`: {Parent: closed},
	} {
		if _, err := b.NewAccount(cfg); !errors.Is(err, slub.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	late, err := slub.NewGroup(slub.GroupConfig{Name: "late"})
	if err != nil {
		t.Fatal(err)
	}
	a := newAccount(t, b, slub.AccountConfig{Parent: late})
	if err := late.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Malloc(1); !errors.Is(err, slub.ErrConfig) || !strings.Contains(err.Error(), `AccountConfig.Parent: "late" is closed`) {
		t.Errorf("an Account whose Parent is closed: %v", err)
	}
	a.Close()
	a.Close()
	(*slub.Account)(nil).Close()
	if _, err := a.Malloc(1); !errors.Is(err, slub.ErrClosed) || !strings.Contains(err.Error(), `account "" is closed`) {
		t.Error(err)
	}
	if _, err := a.MallocZero(maxPageClass + 1); !errors.Is(err, slub.ErrClosed) {
		t.Error(err)
	}
	for _, used := range []bool{false, true} {
		b := openBuckets(t, b.Arena(), slub.BucketsConfig{})
		if used {
			a := newAccount(t, b, slub.AccountConfig{})
			a.Free(must(t)(a.Malloc(8)))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		a, err := b.NewAccount(slub.AccountConfig{})
		if used { // it fails, of a class with a cache, of one without, and of none
			for _, n := range []int{8, 16, 2 * mib} {
				_, failed := a.Malloc(n)
				same(t, "Malloc", failed, slub.ErrClosed)
			}
			continue
		}
		same(t, "NewAccount", err, slub.ErrClosed)
	}
}

// Reset frees what is in use and nothing else, and the Account can be used again, with some objects
// and with many.
func TestAccountReset(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{})
	a, other := newAccount(t, b, slub.AccountConfig{}), newAccount(t, b, slub.AccountConfig{})
	kept := must(t)(other.Malloc(48))
	for _, objects := range []int{0, 1, 10, 2000} {
		for i := range objects {
			p := must(t)(a.Malloc(1 + i%5000))
			switch i % 4 {
			case 1:
				a.Free(p)
			case 2:
				b.Free(p)
			case 3:
				b.FreeRCU(p)
			}
		}
		a.Reset()
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		if got, s := a.Usage(), b.Stats(); got != 0 || s.Objects != 1 || other.Usage() != 48 {
			t.Errorf("after Reset with %d objects %d bytes are charged, and %d objects in use", objects, got, s.Objects)
		}
	}
	b.Free(kept)
}

// A second free is reported, whichever of the two are the Account's.
func TestAccountDoubleFree(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	var reports []hooks.Kind
	var last string
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(r *hooks.Report) {
		reports, last = append(reports, r.Kind), r.Error()
	}}})
	a := newAccount(t, b, slub.AccountConfig{})
	frees := map[string]func(unsafe.Pointer){"Account.Free": a.Free, "Buckets.Free": b.Free, "Reset": func(unsafe.Pointer) { a.Reset() },
		"FreeDeferred": b.FreeDeferred, "FreeRCU": b.FreeRCU}
	for first, free := range frees {
		for second, again := range frees {
			reports = nil
			p := must(t)(a.Malloc(500))
			free(p)
			again(p)
			if want := second != "Reset"; (len(reports) == 1 && reports[0] == hooks.DoubleFree) != want || len(reports) > 1 {
				t.Errorf("%s after %s: %v %s", second, first, reports, last)
			}
			same(t, "Barrier", b.Barrier(t.Context()), nil)
			if a.Usage() != 0 {
				t.Errorf("%s after %s: %d bytes are charged", second, first, a.Usage())
			}
		}
	}
	reports = nil
	p := must(t)(a.Malloc(500))
	a.Free(unsafe.Add(p, 8))
	if len(reports) != 1 || reports[0] != hooks.MisalignedPointer || a.Usage() != 512 {
		t.Errorf("a pointer into an object: %v, %d bytes are charged", reports, a.Usage())
	}
	a.Free(p)
}

// An object is charged until its destructor has returned, and no more when its Free hook is called.
// One that the hook keeps is charged to nothing, and can be freed later.
func TestAccountOrder(t *testing.T) {
	var a *slub.Account
	var steps []string
	keep := false
	note := func(step string) {
		steps = append(steps, step+map[bool]string{true: " charged", false: ""}[a.Usage() > 0])
	}
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{Flags: slub.InitOnFree, RCUDtor: func(unsafe.Pointer) { note("destructor") },
		Hooks: hooks.Hooks{Free: func(hooks.Object) bool { note("hook"); return keep }}})
	a = newAccount(t, b, slub.AccountConfig{})
	for kind, n := range accountedSizes {
		for _, keep = range []bool{false, true} {
			p := must(t)(a.Malloc(n))
			steps = nil
			b.FreeRCU(p)
			same(t, "Barrier", b.Barrier(t.Context()), nil)
			if got := strings.Join(steps, ", "); got != "destructor charged, hook" || a.Usage() != 0 {
				t.Errorf("%s: %s", kind, got)
			}
			if keep {
				keep = false
				b.Free(p)
			}
		}
	}
	if a.Usage() != 0 {
		t.Errorf("%d bytes are charged", a.Usage())
	}
}

// An Alloc hook that panics leaves no charge.
func TestAccountHookPanics(t *testing.T) {
	bad := false
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{Hooks: hooks.Hooks{Alloc: func(hooks.Object) {
		if bad {
			panic("hook")
		}
	}}})
	a := newAccount(t, b, slub.AccountConfig{Limit: 8 * mib})
	for kind, n := range accountedSizes {
		bad = true
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", kind)
				}
			}()
			_, _ = a.Malloc(n)
		}()
		bad = false
		if a.Usage() != 0 {
			t.Errorf("%s: %d bytes are charged", kind, a.Usage())
		}
		a.Free(must(t)(a.Malloc(n)))
	}
	runtime.KeepAlive(a)
}
