package slub_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// newLocal makes a Local that is closed when the test ends.
func newLocal(t testing.TB, c *slub.Cache, objects int) *slub.Local {
	t.Helper()
	l, err := c.NewLocal(objects)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// takeLocal allocates n objects from a Local.
func takeLocal(t testing.TB, l *slub.Local, n int) []unsafe.Pointer {
	t.Helper()
	ps := make([]unsafe.Pointer, n)
	for i := range ps {
		p, err := l.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = p
	}
	return ps
}

func freeLocal(l *slub.Local, ps []unsafe.Pointer) {
	for _, p := range ps {
		l.Free(p)
	}
}

// A Local hands out each object once, holds no more than it may, and counts to the object. With a
// sanitizer it calls the cache's Alloc and Free, and the figures of the cache are the same.
func TestLocal(t *testing.T) {
	for _, size := range []int64{8, 64, 1000, 20000} {
		for _, capacity := range []int{0, 2, 3, 64, slub.MaxLocal} {
			c := open(t, newArena(t, arena.Config{Span: 256 * mib}), slub.Config{Size: size, Hardened: slub.None})
			l := newLocal(t, c, capacity)
			most := capacity
			if most == 0 {
				most = min(2*c.Stats().SheafCapacity, slub.MaxLocal)
			}
			const n = 1500
			var ops uint64
			for range 3 {
				ps := takeLocal(t, l, n)
				seen := map[unsafe.Pointer]bool{}
				for _, p := range ps {
					if seen[p] {
						t.Fatalf("%p given twice", p)
					}
					seen[p] = true
				}
				if s := c.Stats(); s.InUse != n {
					t.Errorf("size %d: %d in use, want %d", size, s.InUse, n)
				}
				for _, p := range ps {
					l.Free(p)
					if l.Len() > most {
						t.Fatalf("it holds %d objects, want %d at most", l.Len(), most)
					}
				}
				ops += n
			}
			s := c.Stats()
			if allocs := s.Events[slub.AllocFastpath] + s.Events[slub.AllocSlowpath]; allocs != ops || s.InUse != 0 {
				t.Errorf("%d allocations, want %d; %d in use", allocs, ops, s.InUse)
			}
			if frees := s.Events[slub.FreeFastpath] + s.Events[slub.FreeSlowpath]; frees != ops {
				t.Errorf("%d frees, want %d", frees, ops)
			}
			if s.Locals.Open != 1 || s.Locals.Objects != uint64(l.Len()) || sanitized != (s.Locals.Frees == 0) {
				t.Errorf("%+v, Len %d", s.Locals, l.Len())
			}
			l.Flush()
			if s := c.Stats(); l.Len() != 0 || s.Locals.Objects != 0 || s.InUse != 0 {
				t.Errorf("after Flush: %d and %d objects, %d in use", l.Len(), s.Locals.Objects, s.InUse)
			}
		}
	}
}

func TestNewLocalOfNonsense(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	for _, n := range []int{-1, 1, slub.MaxLocal + 1} {
		_, err := c.NewLocal(n)
		same(t, "NewLocal", err, slub.ErrConfig)
	}
	same(t, "Close", c.Close(), nil)
	_, err := c.NewLocal(0)
	same(t, "NewLocal", err, slub.ErrClosed)
}

// Close gives everything back, once. Afterwards Alloc fails, and Free is the cache's.
func TestLocalClose(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	l := newLocal(t, c, 0)
	ps := takeLocal(t, l, 100)
	freeLocal(l, ps[10:])
	counts := c.Stats().Locals
	l.Close()
	l.Close()
	s := c.Stats()
	if s.InUse != 10 || s.Locals.Open != 0 || s.Locals.Objects != 0 || l.Len() != 0 {
		t.Errorf("%d in use, %+v", s.InUse, s.Locals)
	}
	if s.Locals.Allocs != counts.Allocs || s.Locals.Frees != counts.Frees {
		t.Errorf("the counts were %+v, are %+v", counts, s.Locals)
	}
	for range 2 {
		_, err := l.Alloc()
		same(t, "Alloc", err, slub.ErrClosed)
		_, err = l.AllocZero()
		same(t, "AllocZero", err, slub.ErrClosed)
	}
	l.Flush()
	freeLocal(l, ps[:10])
	if s := c.Stats(); s.InUse != 0 || l.Len() != 0 || s.AllocFailures != 4 {
		t.Errorf("%d in use, %d in the Local, %d failures", s.InUse, l.Len(), s.AllocFailures)
	}
	counted(t, c, "after Local.Close")
}

// What a Local held that nothing refers to any more goes back.
func TestLocalLost(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	for range 10 {
		l, err := c.NewLocal(0)
		same(t, "NewLocal", err, nil)
		freeLocal(l, takeLocal(t, l, 200))
	}
	for c.Stats().Locals.Open > 0 {
		runtime.GC()
		runtime.Gosched()
	}
	if s := c.Stats(); s.Locals.Objects != 0 || s.InUse != 0 {
		t.Errorf("%+v, %d in use", s.Locals, s.InUse)
	}
	same(t, "Close", c.Close(), nil)
}

// The cache's Close can't take what a Local holds and says so. The next operation of the Local
// gives it back, and fails or frees as the cache's does.
func TestCacheCloseBeforeLocal(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	for name, next := range map[string]func(t *testing.T, l *slub.Local, p unsafe.Pointer){
		"Alloc": func(t *testing.T, l *slub.Local, p unsafe.Pointer) {
			for range 2 {
				_, err := l.Alloc()
				same(t, "Alloc", err, slub.ErrClosed)
			}
			l.Free(p)
		},
		"Free":  func(_ *testing.T, l *slub.Local, p unsafe.Pointer) { l.Free(p) },
		"Flush": func(_ *testing.T, l *slub.Local, p unsafe.Pointer) { l.Flush(); l.Free(p) },
		"Close": func(_ *testing.T, l *slub.Local, p unsafe.Pointer) { l.Close(); l.Free(p) },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, nil, slub.Config{Name: "owner", Size: 64, Hardened: slub.None})
			l, other := newLocal(t, c, 0), newLocal(t, c, 0)
			ps := takeLocal(t, l, 100)
			freeLocal(l, ps[1:])
			freeLocal(other, takeLocal(t, other, 1))
			held := l.Len() + other.Len()
			err := c.Close()
			same(t, "Close", err, slub.ErrBusy)
			says := "are held by 2 Locals that were not closed"
			if !sanitized && !strings.Contains(err.Error(), says) || sanitized && strings.Contains(err.Error(), "Local") {
				t.Errorf("%v; %d are held", err, held)
			}
			next(t, l, ps[0])
			if l.Len() != 0 {
				t.Errorf("the Local holds %d objects", l.Len())
			}
			other.Close()
			same(t, "Close", c.Close(), nil)
			_, err = l.Alloc()
			same(t, "Alloc", err, slub.ErrClosed)
		})
	}
}

// Shrink, and an allocation that finds no memory, have Locals give back what they hold with their
// next operation, whichever that is.
func TestLocalAsked(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, c *slub.Cache){
		"Shrink": func(_ *testing.T, c *slub.Cache) { c.Shrink() },
		"ErrNoMemory": func(t *testing.T, c *slub.Cache) {
			big := open(t, c.Arena(), slub.Config{Size: 4096, Hardened: slub.None})
			var ps []unsafe.Pointer
			for {
				p, err := big.Alloc()
				if err != nil {
					same(t, "Alloc", err, slub.ErrNoMemory)
					break
				}
				ps = append(ps, p)
			}
			freeAll(big, ps)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, newArena(t, arena.Config{Limit: 2 * mib, Span: 8 * mib}), slub.Config{Size: 64, Hardened: slub.None})
			l := newLocal(t, c, 0)
			for _, next := range []func() int{
				func() int { l.Free(takeLocal(t, l, 1)[0]); return 1 },
				func() int { l.Free(take(t, c, 1)[0]); return 0 },
			} {
				freeLocal(l, takeLocal(t, l, 300))
				if before := l.Len(); before == 0 != sanitized {
					t.Fatalf("it holds %d objects", before)
				}
				ask(t, c)
				if want := next(); l.Len() > want {
					t.Errorf("after its next operations it holds %d objects, want at most %d", l.Len(), want)
				}
			}
			// From then on it works as before.
			freeLocal(l, takeLocal(t, l, 300))
			if l.Len() < 2 && !sanitized {
				t.Errorf("it holds %d objects", l.Len())
			}
		})
	}
}

// Free checks what Cache.Free checks, in the same call, and hands on what is nil.
func TestLocalFreeChecks(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := openRecorder(t, a, slub.Config{Name: "right", Size: 64})
	wrong := open(t, a, slub.Config{Name: "wrong", Size: 64})
	l := newLocal(t, c.Cache, 0)
	p, q := takeLocal(t, l, 1)[0], take(t, wrong, 1)[0]
	outside := new([64]byte)
	held := l.Len()
	for _, bad := range []struct {
		p    unsafe.Pointer
		kind hooks.Kind
	}{
		{unsafe.Pointer(outside), hooks.ForeignPointer},
		{q, hooks.WrongCache},
		{unsafe.Add(p, 8), hooks.MisalignedPointer},
	} {
		c.Reports = nil
		l.Free(bad.p)
		if len(c.Reports) != 1 || c.Reports[0].Kind != bad.kind || c.Reports[0].Addr != uintptr(bad.p) {
			t.Errorf("reports %v, want kind %v of %p", c.Reports, bad.kind, bad.p)
		}
	}
	l.Free(nil)
	if s := c.Stats(); s.ForeignFrees != 3 || l.Len() != held || s.InUse != 1 {
		t.Errorf("%d refused, the Local held %d and holds %d, %d in use", s.ForeignFrees, held, l.Len(), s.InUse)
	}
	l.Free(p)
	wrong.Free(q)
}

// The Local of a cache whose objects need a closer look calls Cache.Alloc and Free for each.
func TestLocalOfInstrumentedCache(t *testing.T) {
	balance := 0
	for name, cfg := range map[string]slub.Config{
		"hooks":       {Size: 64, Hooks: balancing(&balance)},
		"InitOnAlloc": {Size: 64, Flags: slub.InitOnAlloc},
		"InitOnFree":  {Size: 64, Flags: slub.InitOnFree},
		"NoSheaves":   {Size: 64, Flags: slub.NoSheaves},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, nil, cfg)
			l := newLocal(t, c, 0)
			ps := takeLocal(t, l, 50)
			for _, p := range ps {
				if cfg.Flags&(slub.InitOnAlloc|slub.InitOnFree) != 0 && !zeroed(p, 64) {
					t.Fatalf("%p is not zero", p)
				}
				paint(p, 64, 2)
			}
			if name == "hooks" && balance != 50 {
				t.Errorf("hooks saw %d objects in use", balance)
			}
			freeLocal(l, ps)
			p, err := l.AllocZero()
			same(t, "AllocZero", err, nil)
			if !zeroed(p, 64) {
				t.Errorf("%p is not zero", p)
			}
			l.Free(p)
			if l.Len() != 0 || balance != 0 || c.Stats().Locals.Allocs != 0 || c.Stats().InUse != 0 {
				t.Errorf("it holds %d, %d in use for hooks, %+v", l.Len(), balance, c.Stats())
			}
			c.Shrink()
			freeLocal(l, takeLocal(t, l, 50))
			if l.Len() != 0 {
				t.Errorf("after Shrink it holds %d", l.Len())
			}
		})
	}
}

// The Locals of an alias that is closed allocate no more; those of the others do.
func TestLocalOfAlias(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	first := open(t, a, slub.Config{Name: "first", Size: 64, Flags: slub.Merge})
	second := open(t, a, slub.Config{Name: "second", Size: 64, Flags: slub.Merge})
	if first.Aliases() != 1 {
		t.Fatal("they share no slabs")
	}
	l, m := newLocal(t, first, 0), newLocal(t, second, 0)
	freeLocal(l, takeLocal(t, l, 100))
	ps := takeLocal(t, m, 100)
	freeLocal(m, ps[:50])
	same(t, "Close of an alias", second.Close(), nil)
	_, err := m.Alloc()
	same(t, "Alloc", err, slub.ErrClosed)
	freeLocal(m, ps[50:])
	if m.Len() != 0 {
		t.Errorf("the Local of the closed one holds %d", m.Len())
	}
	freeLocal(l, takeLocal(t, l, 100))
	if s := first.Stats(); s.InUse != 0 {
		t.Errorf("%d in use", s.InUse)
	}
}

// A Typed's Local has Ts.
func TestTypedLocal(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	type pair struct{ a, b uint64 }
	typed, err := slub.NewTyped[pair](newArena(t, arena.Config{}), slub.Config{Hardened: slub.None})
	same(t, "NewTyped", err, nil)
	l, err := typed.NewLocal(0)
	same(t, "NewLocal", err, nil)
	p, err := l.Alloc()
	same(t, "Alloc", err, nil)
	*p = pair{1, 2}
	l.Free(p)
	p, err = l.AllocZero()
	same(t, "AllocZero", err, nil)
	if *p != (pair{}) {
		t.Errorf("%+v is not zero", *p)
	}
	l.Free(p)
	if l.Len() == 0 && !sanitized {
		t.Error("it holds nothing")
	}
	l.Flush()
	if l.Len() != 0 {
		t.Errorf("after Flush it holds %d", l.Len())
	}
	l.Close()
	same(t, "Close", typed.Close(), nil)
	none, err := typed.NewLocal(0)
	same(t, "NewLocal", err, slub.ErrClosed)
	none.Close()
}

// While Locals are used, and the cache is asked to give back what it keeps, the counters never
// decrease, and every object has one owner.
func TestLocalStress(t *testing.T) {
	const workers, rounds, n = 4, 300, 500
	c := open(t, newArena(t, arena.Config{Span: 64 * mib}), slub.Config{Size: 64})
	during(func() {
		var working sync.WaitGroup
		for w := range workers {
			working.Go(func() {
				var l *slub.Local
				for round := range rounds {
					if round%50 == 0 { // the one before is closed, lost, or has its objects still
						if l != nil && round%100 == 0 {
							l.Close()
						}
						l, _ = c.NewLocal(2 + (round+w)*7%slub.MaxLocal/2)
					}
					ps := takeLocal(t, l, 1+(round*37+w)%n)
					for i, p := range ps {
						*(*uint64)(p) = uint64(w)<<32 | uint64(i)
					}
					runtime.Gosched()
					for i, p := range ps {
						if got := *(*uint64)(p); got != uint64(w)<<32|uint64(i) {
							t.Errorf("%p of worker %d holds %#x", p, w, got)
						}
						if round%3 == 0 && i%5 == 0 {
							c.Free(p)
						} else {
							l.Free(p)
						}
					}
				}
				l.Close()
			})
		}
		working.Wait()
	}, func(stop chan struct{}) {
		for last := c.Stats(); ; {
			select {
			case <-stop:
				return
			default:
			}
			c.Shrink()
			runtime.GC()
			now := c.Stats()
			for _, e := range []slub.Event{slub.AllocFastpath, slub.FreeFastpath} {
				if now.Events[e] < last.Events[e] {
					t.Errorf("%v was %d, is %d", e, last.Events[e], now.Events[e])
				}
			}
			if now.Locals.Allocs < last.Locals.Allocs || now.Locals.Frees < last.Locals.Frees {
				t.Errorf("%+v after %+v", now.Locals, last.Locals)
			}
			last = now
		}
	})
	for c.Stats().Locals.Open > 0 { // some were lost
		runtime.GC()
		runtime.Gosched()
	}
	if s := c.Stats(); s.InUse != 0 || s.Locals.Objects != 0 {
		t.Errorf("%d in use, %+v", s.InUse, s.Locals)
	}
	counted(t, c, "at the end")
}

// Close of the cache while a goroutine uses its Local is a bug of the caller, but loses nothing.
func TestCacheCloseDuringLocal(t *testing.T) {
	for range 50 {
		c := open(t, nil, slub.Config{Size: 64})
		l := newLocal(t, c, 0)
		started := make(chan struct{})
		var working sync.WaitGroup
		working.Go(func() {
			for i := 0; ; i++ {
				p, err := l.Alloc()
				if err != nil {
					same(t, "Alloc", err, slub.ErrClosed)
					return
				}
				if l.Free(p); i == 100 {
					close(started)
				}
			}
		})
		<-started
		if err := c.Close(); err != nil && !errors.Is(err, slub.ErrBusy) {
			t.Error(err)
		}
		working.Wait()
		l.Close()
		same(t, "Close", c.Close(), nil)
	}
}
