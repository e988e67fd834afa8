package slub_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// freeFlood frees by FreeRCU on several goroutines, and waits for them when end is called.
func freeFlood(t *testing.T, alloc func() (unsafe.Pointer, error), free func(unsafe.Pointer), users, each int) (end func()) {
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for range each {
				p, err := alloc()
				if err != nil {
					t.Error(err)
					return
				}
				*(*uint64)(p) = 1 // resident
				free(p)
			}
		})
	}
	return wg.Wait
}

// used is how many bytes the arena has handed out.
func used(a *arena.Arena) (n int64) {
	s := a.Stats()
	for _, node := range s.Nodes {
		n += node.Used
	}
	return n + s.Mapped
}

// With a reader that never reports and goroutines that never stop freeing, what waits stays
// within the hard limit to the byte, and memory with it: they wait. Nothing is destroyed
// meanwhile. When the reader reports all go on, and in the end everything was destroyed once.
// Through sheaves, through the queue, and for large values.
func TestMemoryStaysBounded(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	const users, limit = 4, 2 * mib
	for name, kind := range map[string]struct {
		size  int
		flags slub.Flags
		each  int
	}{
		"sheaves":    {size: 256, each: testutil.Stress(t, 40_000)},
		"no sheaves": {size: 256, flags: slub.NoSheaves, each: testutil.Stress(t, 40_000)},
		"page class": {size: 100_000, each: testutil.Stress(t, 400)},
		"page runs":  {size: 100_000, each: testutil.Stress(t, 400)},
	} {
		t.Run(name, func(t *testing.T) {
			// However short the test is: every user must get to the limit, and wait there.
			kind.each = max(kind.each, 2*limit/kind.size)
			a := newArena(t, arena.Config{Span: 64 * mib})
			d := new(rcu.Domain)
			m := new(dtorCounter)
			dtor := func(unsafe.Pointer) { m.Died.Add(1) }
			var alloc func() (unsafe.Pointer, error)
			var free func(unsafe.Pointer)
			var stats func() slub.BacklogStats
			var barrier func(context.Context) error
			if kind.size > maxClass {
				b := openBuckets(t, a, slub.BucketsConfig{Domain: d, RCUDtor: dtor, RCUHardLimit: limit, RCUMaxWait: slub.Unlimited})
				alloc, free, barrier = func() (unsafe.Pointer, error) { return b.MallocZero(kind.size) }, b.FreeRCU, b.Barrier
				if name == "page class" {
					b.Free(malloc(t, b, kind.size)) // its cache is made
					alloc = func() (unsafe.Pointer, error) { return b.Malloc(kind.size) }
				}
				stats = func() slub.BacklogStats { return b.Stats().Backlog }
			} else {
				cfg := slub.Config{Size: int64(kind.size), Flags: kind.flags, Domain: d, RCUHardLimit: limit, RCUMaxWait: slub.Unlimited}
				if kind.flags&slub.NoSheaves == 0 {
					cfg.RCUDtor = dtor
				} else {
					cfg.Hooks = balancingFrees(m)
				}
				c := open(t, a, cfg)
				alloc, free, barrier = c.Alloc, c.FreeRCU, c.Barrier
				stats = func() slub.BacklogStats { return c.Stats().Backlog }
			}
			r := register(t, d)
			end := freeFlood(t, alloc, free, users, kind.each)
			within(t, "all goroutines wait", func() bool { return stats().Waits >= users })
			time.Sleep(10 * time.Millisecond)
			s := stats()
			if s.Peak > limit || s.Overruns != 0 || m.Died.Load() != 0 {
				t.Errorf("behind the reader %d bytes of %d were charged, %d overruns, %d destroyed", s.Peak, limit, s.Overruns, m.Died.Load())
			}
			// Beside what waits: the free objects of sheaves and slabs.
			if n := used(a); n > limit+mib {
				t.Errorf("%d bytes are in use, with a limit of %d", n, limit)
			}
			r.Offline()
			end()
			same(t, "Barrier", barrier(context.Background()), nil)
			s = stats()
			if n := m.Died.Load(); n != int64(users*kind.each) || s.Bytes != 0 {
				t.Errorf("%d destroyed, want %d; %d bytes charged", n, users*kind.each, s.Bytes)
			}
			if s.Peak > limit || s.Overruns != 0 {
				t.Errorf("%d bytes of %d were charged, %d overruns", s.Peak, limit, s.Overruns)
			}
		})
	}
}

// Where waits are bounded every sheaf beyond the limit is counted.
func TestOverrunsAreCounted(t *testing.T) {
	const limit = mib / 4
	c := open(t, nil, slub.Config{Size: 256, Domain: new(rcu.Domain), RCUHardLimit: limit, RCUMaxWait: time.Millisecond})
	r := register(t, c.Domain())
	freeFlood(t, c.Alloc, c.FreeRCU, 4, 2000)()
	s := c.Stats()
	sheaf := int64(s.SheafCapacity) * 256
	if over := s.Backlog.Peak - limit; s.Backlog.Overruns == 0 || over > int64(s.Backlog.Overruns)*sheaf {
		t.Errorf("%d bytes beyond the limit, by %d overruns of up to %d", over, s.Backlog.Overruns, sheaf)
	}
	_ = r.Close()
}

// A reader that frees while it is online, beyond the limit, waits for itself: not for ever.
func TestReaderAtHardLimit(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	// On one CPU, with no tick of the timer and no round of the soft limit meanwhile, the objects
	// fill one sheaf and begin another.
	m := openDtorCounter(t, nil, slub.Config{Size: 256, RCUSoftLimit: slub.Unlimited, RCUHardLimit: 1, RCUDelay: time.Hour})
	r := register(t, m.Domain())
	per := m.Stats().SheafCapacity
	pinned(t, 0, func() { freeRCU(m.Cache, take(t, m.Cache, per+1)) })
	if s := m.Stats().Backlog; s.Waits != 1 || s.Overruns != 1 || m.Died.Load() != 0 {
		t.Errorf("%+v", s)
	}
	for range 2 * per { // a loop that may not wait, and reports after each round
		m.FreeRCUNoWait(take(t, m.Cache, 1)[0])
		r.Quiescent()
	}
	if s := m.Stats().Backlog; s.Waits != 1 {
		t.Errorf("FreeRCUNoWait waited: %+v", s)
	}
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if n := m.Died.Load(); n != int64(3*per+1) {
		t.Errorf("%d of %d destroyed", n, 3*per+1)
	}
}

// Which limits are in force.
func TestBacklogLimits(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 512 * mib})
	for name, c := range map[string]struct {
		soft, hard         int64
		wantSoft, wantHard int64
	}{
		"automatic":    {0, 0, 32 * mib, 128 * mib},
		"hard":         {0, 8 * mib, 2 * mib, 8 * mib},
		"both":         {3 * mib, 8 * mib, 3 * mib, 8 * mib},
		"no hard":      {0, slub.Unlimited, 32 * mib, slub.Unlimited},
		"no soft":      {slub.Unlimited, 0, slub.Unlimited, 128 * mib},
		"none":         {slub.Unlimited, slub.Unlimited, slub.Unlimited, slub.Unlimited},
		"only soft":    {mib, slub.Unlimited, mib, slub.Unlimited},
		"soft by hand": {mib, 0, mib, 128 * mib},
	} {
		s := open(t, a, slub.Config{Size: 64, RCUSoftLimit: c.soft, RCUHardLimit: c.hard}).Stats().Backlog
		if s.Soft != c.wantSoft || s.Hard != c.wantHard {
			t.Errorf("%s: %d and %d, want %d and %d", name, s.Soft, s.Hard, c.wantSoft, c.wantHard)
		}
	}
	c := open(t, a, slub.Config{Size: 64})
	a.SetLimit(256 * mib)
	if s := c.Stats().Backlog; s.Hard != 64*mib {
		t.Errorf("after SetLimit %d", s.Hard)
	}
	a.SetLimit(0)
	if s := c.Stats().Backlog; s.Hard != a.Available()/8 || s.Hard < mib {
		t.Errorf("without a limit %d", s.Hard)
	}
	a.SetLimit(mib)
	if s := c.Stats().Backlog; s.Hard != mib/4 || s.Soft != mib/16 {
		t.Errorf("with an arena of 1 MiB limits of %d and %d, however many the CPUs", s.Soft, s.Hard)
	}
	a.SetLimit(0)
	if err := (slub.Config{Size: 8, RCUSoftLimit: 2, RCUHardLimit: 1}).Validate(); !errors.Is(err, slub.ErrConfig) {
		t.Errorf("a soft limit above the hard one: %v", err)
	}
	if err := (slub.BucketsConfig{RCUSoftLimit: 2, RCUHardLimit: 1}).Validate(); !errors.Is(err, slub.ErrConfig) {
		t.Errorf("buckets with a soft limit above the hard one: %v", err)
	}
}

// All sizes of Buckets have one backlog, and hurry each other: what a wait for a small object
// needs may be the half-full sheaf of another class, or a page run.
func TestBucketsShareABacklog(t *testing.T) {
	d := new(rcu.Domain)
	b := openBuckets(t, nil, slub.BucketsConfig{Domain: d, RCUHardLimit: mib, RCUMaxWait: slub.Unlimited})
	for range 20 {
		for _, n := range []int{100, 30_000, 200_000, maxRun + 1} {
			b.FreeRCU(malloc(t, b, n)) // the mapping is more than the limit, and waits for all else
		}
	}
	for _, c := range b.Caches() {
		if s := c.Stats().Backlog; s.Name != "malloc" || s.ID != b.Caches()[0].Stats().Backlog.ID || s.Overruns != 0 {
			t.Errorf("%s: %+v", c.Name(), s)
		}
	}
	if s := b.Stats().Backlog; s.Waits == 0 || s.Expedited == 0 {
		t.Errorf("%+v", s)
	}
}

// balancingFrees are hooks that count what is freed, for caches that may have no destructor.
func balancingFrees(m *dtorCounter) hooks.Hooks {
	return hooks.Hooks{Free: func(hooks.Object) bool { m.Died.Add(1); return false }}
}

// TestClosedArenaIsCollected: nothing in the package keeps an arena that is closed, neither the
// limit that its caches share nor the caches themselves.
func TestClosedArenaIsCollected(t *testing.T) {
	closed := func() weak.Pointer[arena.Arena] {
		a, err := arena.New(arena.Config{Span: 8 * mib})
		if err != nil {
			t.Fatal(err)
		}
		c, err := slub.New(a, slub.Config{Name: t.Name(), Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		c.FreeRCU(p)
		b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: t.Name()})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{64, 64 << 10, 8 << 20} {
			v, err := b.Malloc(n)
			if err != nil {
				t.Fatal(err)
			}
			b.FreeRCU(v)
		}
		if err := errors.Join(b.Close(), c.Close(), a.Close()); err != nil {
			t.Fatal(err)
		}
		return weak.Make(a)
	}()
	for start := time.Now(); closed.Value() != nil; runtime.GC() {
		if time.Since(start) > time.Minute {
			t.Fatal("after a minute something still keeps the arena")
		}
	}
}
