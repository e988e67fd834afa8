package slub

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
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
func used(a *arena.Arena) (n uint64) {
	s := a.Stats()
	for _, node := range s.Nodes {
		n += node.Used
	}
	return n + s.Mapped
}

// With a reader that never reports and goroutines that never stop freeing, what waits stays
// within the hard limit to the byte, and memory with it: they wait. Nothing is destroyed
// meanwhile. When the reader reports all go on, and in the end everything was destroyed
// once. Through sheaves, through the queue, and for large values.
func TestMemoryStaysBounded(t *testing.T) {
	const users, limit = 4, 2 * mib
	for name, kind := range map[string]struct {
		size  int
		flags Flags
		each  int
	}{
		"sheaves":    {256, 0, testutil.Stress(t, 40_000)},
		"no sheaves": {256, NoSheaves, testutil.Stress(t, 40_000)},
		"page runs":  {100_000, 0, testutil.Stress(t, 400)},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t, arena.Config{Span: 64 * mib})
			d := new(rcu.Domain)
			m := &mortal{domain: d}
			dtor := func(unsafe.Pointer) { m.died.Add(1) }
			var alloc func() (unsafe.Pointer, error)
			var free func(unsafe.Pointer)
			var stats func() BacklogStats
			var barrier func(context.Context) error
			if kind.size > maxClass {
				b := openBuckets(t, a, BucketsConfig{Domain: d, RCUDtor: dtor, RCUHardLimit: limit, RCUMaxWait: -1})
				alloc, free, barrier = func() (unsafe.Pointer, error) { return b.Malloc(kind.size) }, b.FreeRCU, b.Barrier
				stats = b.backlog.stats
			} else {
				cfg := Config{Size: uintptr(kind.size), Flags: kind.flags, Domain: d, RCUHardLimit: limit, RCUMaxWait: -1}
				if kind.flags&NoSheaves == 0 {
					cfg.RCUDtor = dtor
				} else {
					cfg.Hooks = balancingFrees(m)
				}
				c := open(t, a, cfg)
				alloc, free, barrier = c.Alloc, c.FreeRCU, c.Barrier
				stats = func() BacklogStats { return c.Stats().Backlog }
			}
			r := register(t, d)
			end := freeFlood(t, alloc, free, users, kind.each)
			within(t, "all goroutines wait", func() bool { return stats().Waits >= users })
			time.Sleep(10 * time.Millisecond)
			s := stats()
			if s.Peak > limit || s.Overruns != 0 || m.died.Load() != 0 {
				t.Errorf("behind the reader %d bytes of %d were charged, %d overruns, %d destroyed", s.Peak, limit, s.Overruns, m.died.Load())
			}
			// Beside what waits: the free objects of sheaves and slabs.
			if n := used(a); n > limit+mib {
				t.Errorf("%d bytes are in use, with a limit of %d", n, limit)
			}
			r.Offline()
			end()
			same(t, "Barrier", barrier(context.Background()), nil)
			s = stats()
			if n := m.died.Load(); n != int64(users*kind.each) || s.Bytes != 0 {
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
	c := open(t, nil, Config{Size: 256, Domain: new(rcu.Domain), RCUHardLimit: limit, RCUMaxWait: time.Millisecond})
	r := register(t, c.Domain())
	freeFlood(t, c.Alloc, c.FreeRCU, 4, 2000)()
	s := c.Stats()
	sheaf := uint64(s.SheafCapacity) * 256
	if over := s.Backlog.Peak - limit; s.Backlog.Overruns == 0 || over > s.Backlog.Overruns*sheaf {
		t.Errorf("%d bytes beyond the limit, by %d overruns of up to %d", over, s.Backlog.Overruns, sheaf)
	}
	_ = r.Close()
}

// A reader that frees while it is online, beyond the limit, waits for itself: not for ever.
func TestReaderAtHardLimit(t *testing.T) {
	m := openMortal(t, nil, Config{Size: 256, RCUHardLimit: 1})
	r := register(t, m.domain)
	per := m.Stats().SheafCapacity
	freeRCU(m.Cache, take(t, m.Cache, per+1))
	if s := m.Stats().Backlog; s.Waits != 1 || s.Overruns != 1 || m.died.Load() != 0 {
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
	if n := m.died.Load(); n != int64(3*per+1) {
		t.Errorf("%d of %d destroyed", n, 3*per+1)
	}
}

// Which limits are in force.
func TestBacklogLimits(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 512 * mib})
	for name, c := range map[string]struct {
		soft, hard         int64
		wantSoft, wantHard uint64
	}{
		"automatic":    {0, 0, 32 * mib, 128 * mib},
		"hard":         {0, 8 * mib, 2 * mib, 8 * mib},
		"both":         {3 * mib, 8 * mib, 3 * mib, 8 * mib},
		"no hard":      {0, -1, 32 * mib, 0},
		"no soft":      {-1, 0, 0, 128 * mib},
		"none":         {-1, -1, 0, 0},
		"only soft":    {mib, -1, mib, 0},
		"soft by hand": {mib, 0, mib, 128 * mib},
	} {
		s := open(t, a, Config{Size: 64, RCUSoftLimit: c.soft, RCUHardLimit: c.hard}).Stats().Backlog
		if q := (rcuLimits{c.soft, c.hard, 0}).quiet(mib); s.Soft > 0 && q > s.Soft || s.Hard > 0 && q > s.Hard || q < mib/4 {
			t.Errorf("%s: quiet below %d", name, q)
		}
		if s.Soft != c.wantSoft || s.Hard != c.wantHard {
			t.Errorf("%s: %d and %d, want %d and %d", name, s.Soft, s.Hard, c.wantSoft, c.wantHard)
		}
	}
	c := open(t, a, Config{Size: 64})
	a.SetLimit(256 * mib)
	if s := c.Stats().Backlog; s.Hard != 64*mib {
		t.Errorf("after SetLimit %d", s.Hard)
	}
	a.SetLimit(0)
	if s := c.Stats().Backlog; s.Hard != memory()/8 || s.Hard < mib {
		t.Errorf("without a limit %d", s.Hard)
	}
	if l := (rcuLimits{}); share(a) < mib || func() bool { _, h := l.inForce(5 * mib); return h != 5*mib }() {
		t.Error("automatic limits don't follow")
	}
	if err := (Config{Size: 8, RCUSoftLimit: 2, RCUHardLimit: 1}).Validate(); !errors.Is(err, ErrConfig) {
		t.Errorf("a soft limit above the hard one: %v", err)
	}
	if err := (BucketsConfig{RCUSoftLimit: 2, RCUHardLimit: 1}).Validate(); !errors.Is(err, ErrConfig) {
		t.Errorf("buckets with a soft limit above the hard one: %v", err)
	}
}

// All sizes of Buckets have one backlog, and hurry each other: what a wait for a small
// object needs may be the half-full sheaf of another class, or a page run.
func TestBucketsShareABacklog(t *testing.T) {
	d := new(rcu.Domain)
	b := openBuckets(t, nil, BucketsConfig{Domain: d, RCUHardLimit: mib, RCUMaxWait: -1})
	for range 20 {
		for _, n := range []int{100, 30_000, 200_000, maxRun + 1} {
			b.FreeRCU(malloc(t, b, n)) // the mapping is more than the limit, and waits for all else
		}
	}
	for _, c := range b.Caches() {
		if s := c.Stats().Backlog; s.Name != "malloc" || s.ID != b.caches[0].Stats().Backlog.ID || s.Overruns != 0 {
			t.Errorf("%s: %+v", c.Name(), s)
		}
	}
	if s := b.backlog.stats(); s.Waits == 0 || s.Hurries == 0 {
		t.Errorf("%+v", s)
	}
}

// balancingFrees are hooks that count what is freed, for caches that may have no destructor.
func balancingFrees(m *mortal) hooks.Hooks {
	return hooks.Hooks{Free: func(hooks.Object) bool { m.died.Add(1); return false }}
}
