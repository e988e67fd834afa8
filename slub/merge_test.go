package slub

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
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

func needMerging(t *testing.T) {
	if sanitized || noMerging {
		t.Skip("caches are kept apart in this build or by SLUBD_NOMERGE")
	}
}

func TestAliasesShare(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	first := open(t, a, Config{Name: "first", Size: 60})
	second := open(t, a, Config{Name: "second", Size: 57, Align: 64})
	third := open(t, a, Config{Name: "first", Size: 64})
	if first.id != second.id || first.id != third.id || first.Aliases() != 2 || third.Aliases() != 2 {
		t.Fatalf("numbers %d, %d, %d; %d aliases", first.id, second.id, third.id, first.Aliases())
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
	if s.Events != u.Events || s.InUse != 0 || s.Events[AllocFastpath]+s.Events[AllocSlowpath] != 2 {
		t.Errorf("statistics %+v and %+v", s.Events, u.Events)
	}
	n := 0
	for c := range Caches() {
		if c.id == first.id {
			n++
		}
	}
	if n != 1 {
		t.Errorf("Caches has %d of the aliases", n)
	}
}

// An alias and a cache by itself, whose number is the alias's place among those of its
// name, get different names, as do those that come after others were closed.
func TestNamesOfAliasesAreUnique(t *testing.T) {
	needMerging(t)
	freshRegistry(t)
	a := newArena(t, arena.Config{})
	var all []*Cache
	for _, size := range []uintptr{64, 64, 128, 64, 256, 128} {
		all = append(all, open(t, a, Config{Name: "x", Size: size}))
	}
	for i, want := range []string{"x", "x#2", "x#3", "x#4", "x#5", "x#6"} {
		if got := all[i].Name(); got != want {
			t.Errorf("cache %d is %q, want %q", i, got, want)
		}
	}
	same(t, "Close", all[1].Close(), nil)
	same(t, "Close", all[2].Close(), nil)
	for _, want := range []string{"x#2", "x#3", "x#7"} {
		if got := open(t, a, Config{Name: "x", Size: 512}).Name(); got != want {
			t.Errorf("after Close the next is %q, want %q", got, want)
		}
	}
}

// freshRegistry makes the list of caches what it is in a process that has opened none,
// until the test ends.
func freshRegistry(t *testing.T) {
	set := func(byID []*Cache, names map[string]*Cache) ([]*Cache, map[string]*Cache) {
		caches.mu.Lock()
		defer caches.mu.Unlock()
		oldID, oldNames := caches.byID, caches.names
		caches.byID, caches.names = byID, names
		return oldID, oldNames
	}
	byID, names := set(nil, nil)
	t.Cleanup(func() { set(byID, names) })
}

// Each of these keeps a cache apart from a plain one, as first and as second.
func TestUnmergeable(t *testing.T) {
	needMerging(t)
	domain := new(rcu.Domain)
	plain := Config{Size: 64}
	for name, change := range map[string]func(*Config){
		"size": func(c *Config) { c.Size = 65 }, "smaller size": func(c *Config) { c.Size = 56 },
		"alignment":   func(c *Config) { c.Align = 128 },
		"NoMerge":     func(c *Config) { c.Flags = NoMerge },
		"InitOnAlloc": func(c *Config) { c.Flags = InitOnAlloc }, "InitOnFree": func(c *Config) { c.Flags = InitOnFree },
		"NoSheaves":   func(c *Config) { c.Flags = NoSheaves },
		"constructor": func(c *Config) { c.Ctor = func(unsafe.Pointer) {} },
		"destructor":  func(c *Config) { c.RCUDtor = func(unsafe.Pointer) {} },
		"capacity":    func(c *Config) { c.SheafCapacity = 60 },
		"link":        func(c *Config) { c.FreePtrOffset = At(0) },
		"full barns":  func(c *Config) { c.BarnFull = 10 },
		"empty barns": func(c *Config) { c.BarnEmpty = 10 },
		"slab order":  func(c *Config) { c.Slabs.MinObjects = 9 },
		"min partial": func(c *Config) { c.MinPartial = 9 },
		"domain":      func(c *Config) { c.Domain = domain },
		"delay":       func(c *Config) { c.RCUDelay = time.Second },
		"alloc hook":  func(c *Config) { c.Hooks.Alloc = func(hooks.Object) {} },
		"free hook":   func(c *Config) { c.Hooks.Free = func(hooks.Object) bool { return false } },
		"slab hook":   func(c *Config) { c.Hooks.NewSlab = func(hooks.Slab) {} },
		"report hook": func(c *Config) { c.Hooks.Report = func(*hooks.Report) {} },
	} {
		other := plain
		change(&other)
		for _, order := range [][2]Config{{plain, other}, {other, plain}} {
			a := newArena(t, arena.Config{})
			if first, second := open(t, a, order[0]), open(t, a, order[1]); first.id == second.id {
				t.Errorf("%s: merged", name)
			}
		}
	}
	a := newArena(t, arena.Config{})
	safe := Config{Size: 64, Flags: TypesafeByRCU}
	if first, second := open(t, a, safe), open(t, a, safe); first.id == second.id {
		t.Error("caches that are both type-safe are merged: one's readers would find the other's objects")
	}
	if first, second := open(t, nil, plain), open(t, nil, plain); first.id == second.id {
		t.Error("caches of two arenas are merged")
	}
	if line, word := open(t, a, Config{Size: 64, Flags: HWCacheAlign}), open(t, a, plain); line.id != word.id {
		t.Error("alignment that is there anyway keeps caches apart")
	}
	defer func() { noMerging = false }()
	noMerging = true
	if first, second := open(t, a, plain), open(t, a, plain); first.id == second.id {
		t.Error("merged in spite of SLUBD_NOMERGE")
	}
}

// Of several caches that it could share with, an alias gets the oldest.
func TestAliasOfTheOldest(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	noMerging = true
	first, second := open(t, a, Config{Size: 72}), open(t, a, Config{Size: 72})
	noMerging = false
	if alias := open(t, a, Config{Size: 72}); alias.id != first.id || second.Aliases() != 0 {
		t.Errorf("the alias of %d and %d is %d", first.id, second.id, alias.id)
	}
}

// Whichever is closed first, the others go on; the last one gives the slabs back and
// reports what is in use.
func TestAliasesClose(t *testing.T) {
	needMerging(t)
	for last := range 3 {
		a := newArena(t, arena.Config{})
		var all []*Cache
		for _, name := range []string{"alias-1", "alias-2", "alias-3"} {
			all = append(all, open(t, a, Config{Name: name, Size: 48}))
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
			same(t, "Alloc after Close", err, ErrClosed)
		}
		ps := take(t, keep, 500)
		freeAll(keep, ps[:300])
		freeRCU(keep, ps[300:])
		if again := open(t, a, Config{Name: all[(last+1)%3].Name(), Size: 2048}); again.Name() != all[(last+1)%3].Name() {
			t.Errorf("the name %q of a closed alias is still taken", all[(last+1)%3].Name())
		}
		if n := keep.Aliases(); n != 0 {
			t.Errorf("%d aliases after they were closed", n)
		}
		err := keep.Close()
		same(t, "closing the last", err, ErrBusy)
		for i, c := range all {
			if named := strings.Contains(err.Error(), strconv.Quote(c.Name())); !named {
				t.Errorf("cache %d is no suspect of %v", i, err)
			}
		}
		if again := open(t, a, Config{Size: 48}); again.id == keep.id {
			t.Error("a cache that is being closed gets an alias")
		}
		keep.Free(leak)
		if err := keep.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Closing one of several closes all its ways to objects, and none of the others'.
func TestClosedAliasAllocatesNothing(t *testing.T) {
	needMerging(t)
	for _, flags := range []Flags{0, NoSheaves, InitOnAlloc} {
		a := newArena(t, arena.Config{})
		first, second := open(t, a, Config{Size: 64, Flags: flags}), open(t, a, Config{Size: 64, Flags: flags})
		ways := map[string]func(c *Cache) error{
			"Alloc":     func(c *Cache) error { return give(c, c.Alloc) },
			"AllocZero": func(c *Cache) error { return give(c, c.AllocZero) },
			"AllocNode": func(c *Cache) error {
				return give(c, func() (unsafe.Pointer, error) { return c.AllocNode(c.nodeAt(0)) })
			},
			"AllocNoWait": func(c *Cache) error { return give(c, c.AllocNoWait) },
			"AllocBulk": func(c *Cache) error {
				ps := make([]unsafe.Pointer, 3)
				err := c.AllocBulk(ps)
				if err == nil {
					c.FreeBulk(ps)
				}
				return err
			},
		}
		if flags&NoSheaves == 0 {
			ways["Prefill"] = func(c *Cache) error {
				pre, err := c.Prefill(3)
				if err == nil {
					pre.Return()
				}
				return err
			}
			ways["SetSheafCapacity"] = func(c *Cache) error { return c.SetSheafCapacity(0) }
			pre, err := first.Prefill(3)
			same(t, "Prefill", err, nil)
			defer pre.Return()
			ways["Refill"] = func(c *Cache) error {
				if c == first {
					return pre.Refill(5)
				}
				return nil
			}
		}
		all := func(c *Cache, want error) {
			t.Helper()
			freeAll(second, take(t, second, 10)) // for AllocNoWait, and to be found in the sheaves
			for name, way := range ways {
				same(t, name, way(c), want)
			}
		}
		all(first, nil)
		all(second, nil)
		same(t, "Close", first.Close(), nil)
		failures := second.Stats().AllocFailures
		all(first, ErrClosed)
		all(second, nil)
		want := uint64(len(ways))
		if flags&NoSheaves == 0 {
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
func give(c *Cache, alloc func() (unsafe.Pointer, error)) error {
	p, err := alloc()
	if err == nil {
		c.Free(p)
	}
	return err
}

// Whichever of several is closed, what is reported of them all has the name of one that is
// open, which is the oldest.
func TestSurvivorsStandForAliases(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	var all []*Cache
	for _, name := range []string{"eldest", "middle", "youngest"} {
		all = append(all, open(t, a, Config{Name: name, Size: 48}))
	}
	listed := func(want *Cache) {
		t.Helper()
		for c := range Caches() {
			if c.id == want.id && c != want {
				t.Errorf("%q is listed, want %q", c.name, want.name)
			}
		}
		for _, c := range all {
			if s := c.Stats(); s.Backlog.Name != want.name {
				t.Errorf("%q has the backlog of %q, want %q", c.name, s.Backlog.Name, want.name)
			}
		}
		var r *hooks.Report
		func() {
			defer func() { r, _ = recover().(*hooks.Report) }()
			all[0].reportCorrupt(uintptr(take(t, want, 1)[0]), slabRef{})
		}()
		if r == nil || r.Cache != want.name {
			t.Errorf("a report that concerns them all is %v", r)
		}
		want.Free(mem.Ptr(r.Addr))
	}
	listed(all[0])
	same(t, "Close", all[1].Close(), nil)
	listed(all[0])
	same(t, "Close", all[0].Close(), nil)
	if other := open(t, a, Config{Name: "eldest", Size: 2048}); other.Name() != "eldest" {
		t.Errorf("a closed alias's name is not free: %q", other.Name())
	}
	listed(all[2])
}

// An alias's object may be larger than the first cache's by less than a word, which
// must be wiped too.
func TestAliasesWipeTheWholeSlot(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	small := open(t, a, Config{Size: 57, Flags: InitOnFree})
	large := open(t, a, Config{Size: 64, Flags: InitOnFree})
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

// Aliases come and go while others allocate.
func TestAliasStorm(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 200 {
				c, err := New(a, Config{Name: "storm", Size: 64})
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
