package slub_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Caches share slabs only if both have the flag Merge, or SLUBD_MERGE=1 gives it to all. So it is
// in every build, also those with a sanitizer.
func TestMergeIsAskedFor(t *testing.T) {
	before := *mergeAll
	defer func() { *mergeAll = before }()
	for _, c := range []struct {
		all           bool
		first, second slub.Flags
		want          bool
	}{
		{false, 0, 0, false}, {false, slub.Merge, 0, false}, {false, 0, slub.Merge, false}, {false, slub.Merge, slub.Merge, true},
		{true, 0, 0, true}, {true, slub.Merge, 0, true}, {true, 0, slub.Merge, true},
		{false, slub.Merge, slub.Merge | slub.HWCacheAlign, true}, {false, slub.Merge, slub.Merge | slub.InitOnFree, false},
	} {
		if c.second&slub.InitOnFree != 0 && slub.Hardened() {
			continue // the first one has the flag as well
		}
		a := newArena(t, arena.Config{})
		*mergeAll = c.all
		first := open(t, a, slub.Config{Size: 64, Flags: c.first})
		second := open(t, a, slub.Config{Size: 64, Flags: c.second})
		*mergeAll = false
		if merged := first.Stats().ID == second.Stats().ID; merged != c.want || first.Aliases() > 0 != c.want {
			t.Errorf("%+v: merged %t, %d aliases", c, merged, first.Aliases())
		}
	}
}

func TestAliasesShare(t *testing.T) {
	withoutSamples(t) // it says which object comes next
	stay(t)
	needMerging(t)
	a := newArena(t, arena.Config{})
	first := open(t, a, slub.Config{Name: "first", Size: 60})
	second := open(t, a, slub.Config{Name: "second", Size: 57, Align: 64})
	third := open(t, a, slub.Config{Name: "first", Size: 64})
	if first.Stats().ID != second.Stats().ID || first.Stats().ID != third.Stats().ID || first.Aliases() != 2 || third.Aliases() != 2 {
		t.Fatalf("numbers %d, %d, %d; %d aliases", first.Stats().ID, second.Stats().ID, third.Stats().ID, first.Aliases())
	}
	if first.Name() != "first" || second.Name() != "second" || third.Name() != "first#2" {
		t.Errorf("names %q, %q, %q", first.Name(), second.Name(), third.Name())
	}
	p := take(t, first, 1)[0]
	third.Free(p)
	if q := take(t, second, 1)[0]; q != p {
		t.Errorf("an alias gets %p, not %p that was just freed", q, p)
	}
	third.FreeRCU(p)
	if err := second.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	s, u := first.Stats(), third.Stats()
	if s.Events != u.Events || s.InUse != 0 || s.Events[slub.AllocFastpath]+s.Events[slub.AllocSlowpath] != 2 {
		t.Errorf("statistics %+v and %+v", s.Events, u.Events)
	}
	n := 0
	for c := range slub.Caches() {
		if c.Stats().ID == first.Stats().ID {
			n++
		}
	}
	if n != 1 {
		t.Errorf("Caches has %d of the aliases", n)
	}
}

// Aliases and caches that share nothing get different names, also after some were closed.
func TestNamesOfAliasesAreUnique(t *testing.T) {
	needMerging(t)
	freshRegistry(t)
	a := newArena(t, arena.Config{})
	var all []*slub.Cache
	for _, size := range []int64{64, 64, 128, 64, 256, 128} {
		all = append(all, open(t, a, slub.Config{Name: "x", Size: size}))
	}
	for i, want := range []string{"x", "x#2", "x#3", "x#4", "x#5", "x#6"} {
		if got := all[i].Name(); got != want {
			t.Errorf("cache %d is %q, want %q", i, got, want)
		}
	}
	same(t, "Close", all[1].Close(), nil)
	same(t, "Close", all[2].Close(), nil)
	for _, want := range []string{"x#2", "x#3", "x#7"} {
		if got := open(t, a, slub.Config{Name: "x", Size: 512}).Name(); got != want {
			t.Errorf("after Close the next is %q, want %q", got, want)
		}
	}
}

// Each of these settings keeps a cache from sharing with a plain one, whichever is made first.
func TestUnmergeable(t *testing.T) {
	needMerging(t)
	domain := new(rcu.Domain)
	plain := slub.Config{Size: 64}
	for name, change := range map[string]func(*slub.Config){
		"size": func(c *slub.Config) { c.Size = 65 }, "smaller size": func(c *slub.Config) { c.Size = 56 },
		"alignment":   func(c *slub.Config) { c.Align = 128 },
		"InitOnAlloc": func(c *slub.Config) { c.Flags = slub.InitOnAlloc }, "InitOnFree": func(c *slub.Config) { c.Flags = slub.InitOnFree },
		"NoSheaves":   func(c *slub.Config) { c.Flags = slub.NoSheaves },
		"constructor": func(c *slub.Config) { c.Ctor = func(unsafe.Pointer) {} },
		"destructor":  func(c *slub.Config) { c.RCUDtor = func(unsafe.Pointer) {} },
		"capacity":    func(c *slub.Config) { c.SheafCapacity = 60 },
		"link":        func(c *slub.Config) { c.FreePtrOffset = slub.At(0) },
		"full barns":  func(c *slub.Config) { c.BarnFull = 10 },
		"empty barns": func(c *slub.Config) { c.BarnEmpty = 10 },
		"slab order":  func(c *slub.Config) { c.Slabs.MinObjects = 9 },
		"min partial": func(c *slub.Config) { c.MinPartial = 9 },
		"ratio":       func(c *slub.Config) { c.RemoteDefragRatio = 9 },
		"domain":      func(c *slub.Config) { c.Domain = domain },
		"delay":       func(c *slub.Config) { c.RCUDelay = time.Second },
		"alloc hook":  func(c *slub.Config) { c.Hooks.Alloc = func(hooks.Object) {} },
		"free hook":   func(c *slub.Config) { c.Hooks.Free = func(hooks.Object) bool { return false } },
		"slab hook":   func(c *slub.Config) { c.Hooks.NewSlab = func(hooks.Slab) {} },
		"report hook": func(c *slub.Config) { c.Hooks.Report = func(*hooks.Report) {} },
	} {
		if name == "InitOnFree" && slub.Hardened() {
			continue // plain has the flag, too
		}
		other := plain
		change(&other)
		for _, order := range [][2]slub.Config{{plain, other}, {other, plain}} {
			a := newArena(t, arena.Config{})
			if first, second := open(t, a, order[0]), open(t, a, order[1]); first.Stats().ID == second.Stats().ID {
				t.Errorf("%s: merged", name)
			}
		}
	}
	a := newArena(t, arena.Config{})
	safe := slub.Config{Size: 64, Flags: slub.TypesafeByRCU}
	if first, second := open(t, a, safe), open(t, a, safe); first.Stats().ID == second.Stats().ID {
		t.Error("caches that are both type-safe are merged: one's readers would find the other's objects")
	}
	if first, second := open(t, nil, plain), open(t, nil, plain); first.Stats().ID == second.Stats().ID {
		t.Error("caches of two arenas are merged")
	}
	if line, word := open(t, a, slub.Config{Size: 64, Flags: slub.HWCacheAlign}), open(t, a, plain); line.Stats().ID != word.Stats().ID {
		t.Error("alignment that is there anyway keeps caches apart")
	}
}

// If there are several caches to share with, the oldest is chosen.
func TestAliasOfTheOldest(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	*mergeAll = false
	first, second := open(t, a, slub.Config{Size: 72, Flags: slub.Merge}), open(t, a, slub.Config{Size: 72})
	*mergeAll = true
	if alias := open(t, a, slub.Config{Size: 72}); alias.Stats().ID != first.Stats().ID || second.Aliases() != 0 {
		t.Errorf("the alias of %d and %d is %d", first.Stats().ID, second.Stats().ID, alias.Stats().ID)
	}
}

// Aliases may be closed in any order. The others stay open; the last gives the slabs back and
// reports the objects in use.
func TestAliasesClose(t *testing.T) {
	needMerging(t)
	for last := range 3 {
		a := newArena(t, arena.Config{})
		var all []*slub.Cache
		for _, name := range []string{"alias-1", "alias-2", "alias-3"} {
			all = append(all, open(t, a, slub.Config{Name: name, Size: 48}))
		}
		keep := all[last]
		leak := take(t, all[0], 1)[0]
		for i, c := range all {
			if i == last {
				continue
			}
			for range 2 { // the second changes nothing
				if err := c.Close(); err != nil {
					t.Errorf("closing one of several: %v", err)
				}
			}
			_, err := c.Alloc()
			same(t, "Alloc after Close", err, slub.ErrClosed)
		}
		ps := take(t, keep, 500)
		freeAll(keep, ps[:300])
		freeRCU(keep, ps[300:])
		if again := open(t, a, slub.Config{Name: all[(last+1)%3].Name(), Size: 2048}); again.Name() != all[(last+1)%3].Name() {
			t.Errorf("the name %q of a closed alias is still taken", all[(last+1)%3].Name())
		}
		if n := keep.Aliases(); n != 0 {
			t.Errorf("%d aliases after they were closed", n)
		}
		err := keep.Close()
		same(t, "closing the last", err, slub.ErrBusy)
		for i, c := range all {
			if named := strings.Contains(err.Error(), strconv.Quote(c.Name())); !named {
				t.Errorf("cache %d is not named in %v", i, err)
			}
		}
		if again := open(t, a, slub.Config{Size: 48}); again.Stats().ID == keep.Stats().ID {
			t.Error("a cache that is being closed gets an alias")
		}
		keep.Free(leak)
		if err := keep.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Close of one alias makes all its allocations fail, and none of the others'.
func TestClosedAliasAllocatesNothing(t *testing.T) {
	needMerging(t)
	stay(t)
	for _, flags := range []slub.Flags{0, slub.NoSheaves, slub.InitOnAlloc} {
		a := newArena(t, arena.Config{})
		first, second := open(t, a, slub.Config{Size: 64, Flags: flags}), open(t, a, slub.Config{Size: 64, Flags: flags})
		ways := map[string]func(c *slub.Cache) error{
			"Alloc":     func(c *slub.Cache) error { return give(c, c.Alloc) },
			"AllocZero": func(c *slub.Cache) error { return give(c, c.AllocZero) },
			"AllocNode": func(c *slub.Cache) error {
				return give(c, func() (unsafe.Pointer, error) { return c.AllocNode(c.Arena().Topology().Nodes()[0]) })
			},
			"AllocNoWait": func(c *slub.Cache) error { return give(c, c.AllocNoWait) },
			"AllocBulk": func(c *slub.Cache) error {
				ps := make([]unsafe.Pointer, 3)
				err := c.AllocBulk(ps)
				if err == nil {
					c.FreeBulk(ps)
				}
				return err
			},
		}
		if flags&slub.NoSheaves == 0 {
			ways["Prefill"] = func(c *slub.Cache) error {
				pre, err := c.Prefill(3)
				if err == nil {
					pre.Return()
				}
				return err
			}
			ways["SetSheafCapacity"] = func(c *slub.Cache) error { return c.SetSheafCapacity(0) }
			pre, err := first.Prefill(3)
			same(t, "Prefill", err, nil)
			defer pre.Return()
			ways["Refill"] = func(c *slub.Cache) error {
				if c == first {
					return pre.Refill(5)
				}
				return nil
			}
		}
		all := func(c *slub.Cache, want error) {
			t.Helper()
			freeAll(second, take(t, second, 10)) // so that sheaves, and AllocNoWait, have objects
			for name, way := range ways {
				same(t, name, way(c), want)
			}
		}
		all(first, nil)
		all(second, nil)
		same(t, "Close", first.Close(), nil)
		failures := second.Stats().AllocFailures
		all(first, slub.ErrClosed)
		all(second, nil)
		want := uint64(len(ways))
		if flags&slub.NoSheaves == 0 {
			want--                          // SetSheafCapacity allocates nothing
			pre, err := second.Prefill(900) // from slabs
			same(t, "Prefill", err, nil)
			pre.Return()
		}
		if n := second.Stats().AllocFailures - failures; n != want {
			t.Errorf("%d failed allocations count, want %d", n, want)
		}
	}
}

// give allocates an object and frees it again.
func give(c *slub.Cache, alloc func() (unsafe.Pointer, error)) error {
	p, err := alloc()
	if err == nil {
		c.Free(p)
	}
	return err
}

// The objects of an alias may be larger than those of the first cache, where their slot has room.
// This must be zeroed, too.
func TestAliasesWipeTheWholeSlot(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	needMerging(t)
	wipesTheWholeSlot(t, slub.Config{Size: 57, Flags: slub.InitOnFree})
	wipesTheWholeSlot(t, slub.Config{Size: 40, Flags: slub.InitOnFree | slub.HWCacheAlign})
}

// wipesTheWholeSlot checks a cache that shares its slots with one of 64 bytes.
func wipesTheWholeSlot(t *testing.T, cfg slub.Config) {
	t.Helper()
	a := newArena(t, arena.Config{})
	small := open(t, a, cfg)
	large := open(t, a, slub.Config{Size: 64, Flags: slub.InitOnFree})
	for name, free := range map[string]func(unsafe.Pointer){"Free": small.Free, "FreeRCU": small.FreeRCU} {
		p := take(t, large, 1)[0]
		fill(p, 64, 0xff)
		free(p)
		if err := small.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		var all []unsafe.Pointer
		for found := false; !found && len(all) < 1000; {
			q := take(t, large, 1)[0]
			all = append(all, q)
			found = q == p
		}
		if at := unlike(p, 64, 0); at >= 0 {
			t.Errorf("%s leaves byte %d", name, at)
		}
		freeAll(large, all)
	}
}

// Goroutines make and close aliases while others allocate.
func TestAliasStress(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 200 {
				c, err := slub.New(a, slub.Config{Name: "stress", Size: 64})
				if err != nil {
					t.Error(err)
					return
				}
				ps := make([]unsafe.Pointer, 100)
				for i := range ps {
					if ps[i], err = c.Alloc(); err != nil {
						t.Error(err)
						return
					}
					*(*uintptr)(ps[i]) = uintptr(ps[i])
				}
				for _, p := range ps {
					if *(*uintptr)(p) != uintptr(p) {
						t.Error("an object has two owners")
					}
					c.Free(p)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
}
