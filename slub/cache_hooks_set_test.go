package slub_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// seen counts the calls of hooks by address.
type seen struct {
	mu          sync.Mutex
	alloc, free map[uintptr]int
}

func newSeen() *seen { return &seen{alloc: map[uintptr]int{}, free: map[uintptr]int{}} }

func (s *seen) hooks() hooks.Hooks {
	count := func(m map[uintptr]int, o hooks.Object) {
		s.mu.Lock()
		defer s.mu.Unlock()
		m[o.Addr]++
	}
	return hooks.Hooks{
		Alloc: func(o hooks.Object) { count(s.alloc, o) },
		Free:  func(o hooks.Object) bool { count(s.free, o); return false },
	}
}

// calls returns the number of all calls.
func (s *seen) calls() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []map[uintptr]int{s.alloc, s.free} {
		for _, k := range m {
			n += k
		}
	}
	return n
}

// timesOf counts every address once for each time that it is in ps.
func timesOf(ps []unsafe.Pointer) map[uintptr]int {
	m := map[uintptr]int{}
	for _, p := range ps {
		m[uintptr(p)]++
	}
	return m
}

// covers reports whether got has each address as often as want has, or more often.
func covers(got, want map[uintptr]int) bool {
	for addr, n := range want {
		if got[addr] < n {
			return false
		}
	}
	return true
}

func set(t testing.TB, c interface{ SetHooks(hooks.Hooks) error }, h hooks.Hooks) {
	t.Helper()
	if err := c.SetHooks(h); err != nil {
		t.Fatal(err)
	}
}

// Hooks that come, are replaced and go while the cache has objects, for every way to allocate and
// to free: each sees what happens in its time, and all of it.
func TestSetHooks(t *testing.T) {
	for _, flags := range []slub.Flags{0, slub.InitOnFree, slub.InitOnAlloc} {
		everyWay(t, flags, func(t *testing.T, cfg slub.Config, way func(*testing.T, *slub.Cache, int) []unsafe.Pointer, back func(*slub.Cache, []unsafe.Pointer)) {
			c := open(t, nil, cfg)
			before := way(t, c, 50)
			back(c, way(t, c, beyondSheaves)) // sheaves have some, and AllocNode has its sequences
			h1, h2 := newSeen(), newSeen()
			set(t, c, h1.hooks())
			ps := way(t, c, beyondSheaves)
			if !covers(h1.alloc, timesOf(ps)) {
				t.Errorf("of %d objects the Alloc hook has seen %d", len(ps), len(h1.alloc))
			}
			ps = append(ps, before...)
			back(c, ps)
			if !covers(h1.free, timesOf(ps)) || !covers(h1.free, h1.alloc) {
				t.Errorf("of %d objects the Free hook has seen %d", len(ps), len(h1.free))
			}
			calls := h1.calls()
			set(t, c, h2.hooks())
			kept := way(t, c, 20)
			back(c, way(t, c, beyondSheaves))
			if !covers(h2.alloc, timesOf(kept)) || h1.calls() != calls {
				t.Errorf("the replaced hooks were called %d times, the new ones %d", h1.calls()-calls, h2.calls())
			}
			calls2 := h2.calls()
			set(t, c, hooks.Hooks{})
			back(c, append(way(t, c, beyondSheaves), kept...))
			if h1.calls() != calls || h2.calls() != calls2 {
				t.Error("hooks that were taken away are called")
			}
		})
	}
}

// Buckets, and DefaultBuckets behind Malloc: every function that allocates and frees, for classes,
// page classes, page runs and mappings.
func TestSetHooksOfBuckets(t *testing.T) {
	b, err := slub.DefaultBuckets()
	if err != nil {
		t.Fatal(err)
	}
	own := openBuckets(t, newArena(t, arena.Config{Span: 1 << 30}), slub.BucketsConfig{})
	type functions struct {
		malloc func(int) (unsafe.Pointer, error)
		free   func(unsafe.Pointer)
	}
	slice := func(s []byte, err error) (unsafe.Pointer, error) {
		return unsafe.Pointer(unsafe.SliceData(s)), err
	}
	for name, of := range map[string]struct {
		b    *slub.Buckets
		pair functions
	}{
		"Malloc":             {b, functions{slub.Malloc, slub.Free}},
		"MallocZero":         {b, functions{slub.MallocZero, slub.Free}},
		"Bytes":              {b, functions{func(n int) (unsafe.Pointer, error) { return slice(slub.Bytes(n)) }, func(p unsafe.Pointer) { slub.FreeBytes(unsafe.Slice((*byte)(p), 1)) }}},
		"Buckets.Malloc":     {own, functions{own.Malloc, own.Free}},
		"Buckets.MallocZero": {own, functions{own.MallocZero, own.Free}},
		"Buckets.Bytes":      {own, functions{func(n int) (unsafe.Pointer, error) { return slice(own.Bytes(n)) }, func(p unsafe.Pointer) { own.FreeBytes(unsafe.Slice((*byte)(p), 1)) }}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 64, 1000, 32 << 10, 64 << 10, 1 << 20, 2 << 20, 5 << 20} {
				mallocs := func() (ps []unsafe.Pointer) {
					for range 10 {
						p, err := of.pair.malloc(size)
						if err != nil {
							t.Fatal(err)
						}
						ps = append(ps, p)
					}
					return ps
				}
				frees := func(ps []unsafe.Pointer) {
					for _, p := range ps {
						of.pair.free(p)
					}
				}
				h := newSeen()
				before := mallocs()
				set(t, of.b, h.hooks())
				ps := mallocs()
				if !maps.Equal(h.alloc, timesOf(ps)) {
					t.Errorf("%d bytes: of 10 objects the Alloc hook has seen %d", size, len(h.alloc))
				}
				frees(append(ps, before...))
				if !maps.Equal(h.free, timesOf(append(ps, before...))) {
					t.Errorf("%d bytes: of 20 objects the Free hook has seen %d", size, len(h.free))
				}
				set(t, of.b, hooks.Hooks{})
				frees(mallocs())
				if h.calls() != 30 {
					t.Errorf("%d bytes: hooks that were taken away are called", size)
				}
			}
		})
	}
}

// A cache of Accounts, and a Local with objects in it, have hooks from SetHooks on, and are as fast
// as before without: the Local holds objects again.
func TestSetHooksOfAccountsAndLocals(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	b := openBuckets(t, nil, slub.BucketsConfig{})
	a, err := b.NewAccount(slub.AccountConfig{})
	if err != nil {
		t.Fatal(err)
	}
	pair := func() {
		p, err := a.Malloc(100)
		if err != nil {
			t.Fatal(err)
		}
		a.Free(p)
	}
	pair()
	h := newSeen()
	set(t, b, h.hooks())
	pair()
	p, err := a.Malloc(100)
	if err != nil || a.Usage() == 0 {
		t.Fatalf("%v, %d bytes charged", err, a.Usage())
	}
	a.Reset()
	if h.calls() != 4 || a.Usage() != 0 {
		t.Errorf("two objects, the last %p, and the hooks were called %d times; %d bytes are charged", p, h.calls(), a.Usage())
	}
	set(t, b, hooks.Hooks{})
	pair()
	if h.calls() != 4 {
		t.Error("hooks that were taken away are called")
	}
	a.Close()

	for _, hardened := range []int{slub.None, slub.On} {
		setHooksOfLocal(t, hardened)
	}
}

// setHooksOfLocal is the part about a Local. That of a hardened cache holds nothing, hooks or not.
func setHooksOfLocal(t *testing.T, hardened int) {
	c := open(t, nil, slub.Config{Size: 64, Hardened: hardened})
	holds := !sanitized && hardened == slub.None
	l, err := c.NewLocal(32)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	local := func() unsafe.Pointer { return first(l.Alloc()) }
	first, second := local(), local()
	l.Free(first)
	h := newSeen()
	set(t, c, h.hooks())
	third := local()
	zero, err := l.AllocZero()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []unsafe.Pointer{zero, third, second} {
		l.Free(p)
	}
	if len(h.alloc) != 2 || len(h.free) != 3 || h.calls() != 5 {
		t.Errorf("hardened %d: two allocations and three frees, hooks %v and %v", hardened, h.alloc, h.free)
	}
	set(t, c, hooks.Hooks{})
	l.Free(local())
	held := l.Len()
	l.Free(local())
	if h.calls() != 5 || (l.Len() > 0) != holds {
		t.Errorf("hardened %d: without hooks the Local holds %d objects, %d a call before; %d calls", hardened, l.Len(), held, h.calls())
	}
}

// SetHooks is refused where hooks would get the objects of others, or could wait for themselves.
func TestSetHooksRefused(t *testing.T) {
	a := newArena(t, arena.Config{})
	some := newSeen().hooks()
	if !sanitized {
		needMerging(t)
	}
	one := open(t, a, slub.Config{Size: 64, Flags: slub.Merge})
	other, err := slub.New(a, slub.Config{Size: 64, Flags: slub.Merge})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "of a cache that shares its slabs", one.SetHooks(some), slub.ErrConfig)
	same(t, "none", one.SetHooks(hooks.Hooks{}), nil)
	same(t, "Close", other.Close(), nil)
	same(t, "of a cache that has shared its slabs", one.SetHooks(some), slub.ErrConfig)
	same(t, "of a closed cache", other.SetHooks(some), slub.ErrClosed)

	apart := open(t, a, slub.Config{Size: 128, Flags: slub.Merge})
	h := newSeen()
	set(t, apart, h.hooks())
	late := open(t, a, slub.Config{Size: 128, Flags: slub.Merge})
	late.Free(take(t, late, 1)[0])
	if late.Aliases() != 0 || h.calls() != 0 {
		t.Errorf("a cache with hooks has %d aliases; its hooks got %d objects of another cache", late.Aliases(), h.calls())
	}

	b := openBuckets(t, a, slub.BucketsConfig{})
	same(t, "of a class", b.Caches()[0].SetHooks(some), slub.ErrConfig)
	var inside, waiting error
	set(t, apart, hooks.Hooks{Alloc: func(hooks.Object) {
		inside, waiting = errors.Join(apart.SetHooks(some), b.SetHooks(some)), errors.Join(apart.WaitHooks(context.Background()), b.WaitHooks(context.Background()))
	}})
	apart.Free(take(t, apart, 1)[0])
	same(t, "in a hook", inside, rcu.ErrInCallback)
	same(t, "WaitHooks in a hook", waiting, rcu.ErrInCallback)
}

// A countedContext ends when Done was called as often as left says, if it is not 0. begun is closed
// by the first call.
type countedContext struct {
	context.Context
	cancel func()
	once   sync.Once
	begun  chan bool
	left   atomic.Int64
}

func (c *countedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.begun) })
	if c.left.Load() > 0 && c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Done()
}

// enterHook sets a hook that blocks, Free or Alloc, and returns when another goroutine is in it.
// leave has the hook return, and waits until the goroutine has ended.
func enterHook(t *testing.T, c *slub.Cache, free bool) (leave func()) {
	entered, left, done := make(chan bool), make(chan bool), make(chan bool)
	block := func() { close(entered); <-left }
	h := hooks.Hooks{Alloc: func(hooks.Object) { block() }}
	if free {
		h = hooks.Hooks{Free: func(hooks.Object) bool { block(); return false }}
	}
	set(t, c, h)
	go func() {
		defer close(done)
		p, err := c.Alloc()
		if err != nil {
			t.Error(err)
		}
		c.Free(p)
	}()
	<-entered
	return func() { close(left); <-done }
}

// WaitHooks does not wait for hooks that are replaced when it has begun.
func TestWaitHooksIgnoresLater(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	ctx := &countedContext{begun: make(chan bool)}
	ctx.Context, ctx.cancel = context.WithCancel(t.Context())
	defer ctx.cancel()
	leaveFirst := enterHook(t, c, false)
	set(t, c, hooks.Hooks{})
	waited := make(chan error)
	go func() { waited <- c.WaitHooks(ctx) }()
	<-ctx.begun
	leaveLater := enterHook(t, c, false)
	set(t, c, hooks.Hooks{})
	leaveFirst()
	ctx.left.Store(10) // collections, of which the first finds that the hook runs no more
	same(t, "WaitHooks while a hook runs that was replaced later", <-waited, nil)
	leaveLater()
}

// WaitHooks waits for a replaced hook that still runs, and no longer.
func TestWaitHooks(t *testing.T) {
	for name, free := range map[string]bool{"Alloc": false, "Free": true} {
		t.Run(name, func(t *testing.T) {
			c := open(t, nil, slub.Config{Size: 64})
			same(t, "WaitHooks without hooks", c.WaitHooks(canceled(t)), nil)
			leave := enterHook(t, c, free)
			set(t, c, hooks.Hooks{})
			same(t, "WaitHooks while the hook runs", c.WaitHooks(canceled(t)), context.Canceled)
			leave()
			same(t, "WaitHooks", c.WaitHooks(context.Background()), nil)
		})
	}
}
