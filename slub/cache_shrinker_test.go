package slub_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// An evictable is a user's cache of objects: a stack under a mutex.
type evictable struct {
	c    *slub.Cache
	mu   sync.Mutex
	held []unsafe.Pointer
}

func (e *evictable) count() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int64(len(e.held))
}

func (e *evictable) scan(n int64) int64 {
	if !e.mu.TryLock() {
		return -1
	}
	defer e.mu.Unlock()
	n = min(n, int64(len(e.held)))
	for _, p := range e.held[:n] {
		e.c.Free(p)
	}
	e.held = e.held[n:]
	return n
}

// hold adds another object to those that the evictable has.
func (e *evictable) hold(t *testing.T) {
	t.Helper()
	p, err := e.c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = append(e.held, p)
}

// fullArena returns a cache in an arena of 2 MiB, all of which the evictable has.
func fullArena(t *testing.T, name string) (*arena.Arena, *slub.Cache, *evictable) {
	a := newArena(t, arena.Config{Name: name, Limit: 2 * mib})
	c := open(t, a, slub.Config{Size: 512, Domain: new(rcu.Domain)})
	e := &evictable{c: c, held: fillArena(t, c)}
	t.Cleanup(func() { e.scan(1 << 30) })
	return a, c, e
}

// TestShrinkerMakesRoom: an allocation that finds no memory has shrinkers free as little as will
// do, for its own cache and for another one, and for large objects as much as it takes.
func TestShrinkerMakesRoom(t *testing.T) {
	a, c, e := fullArena(t, "evict")
	b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)})
	stop := a.AddShrinker(arena.Shrinker{Name: "evict", Count: e.count, Scan: e.scan})
	defer stop()
	all := e.count()
	p, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	c.Free(p)
	if left := e.count(); left < all/2 || left == all {
		t.Errorf("%d of %d objects are left for one", left, all)
	}
	for range 4 {
		p, err := b.Malloc(mib / 2)
		if err != nil {
			t.Fatal(err)
		}
		b.Free(p)
	}
	p, err = b.Malloc(mib)
	if err != nil {
		t.Errorf("half of the memory: %v", err)
	}
	b.Free(p)
	// A call in the background may still run, and counts what it has freed when Scan has returned.
	var s []arena.ShrinkerStats
	counted := func() bool {
		s = a.Stats().Reclaim.Shrinkers
		return len(s) == 1 && s[0].Name == "evict" && s[0].Calls > 0 && int64(s[0].Freed) == all-e.count()
	}
	for start := time.Now(); !counted(); time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("%+v, %d freed", s, all-e.count())
		}
	}
}

// TestShrinkerStops: a shrinker that was stopped is not called, and stop waits for a call.
func TestShrinkerStops(t *testing.T) {
	a, c, _ := fullArena(t, "stop")
	inScan, goOn := make(chan struct{}), make(chan struct{})
	var after atomic.Bool
	stop := a.AddShrinker(arena.Shrinker{Name: "slow", Count: func() int64 { return 1 }, Scan: func(int64) int64 {
		if after.Load() {
			t.Error("called after stop")
		}
		close(inScan)
		<-goOn
		return 0
	}})
	failed := make(chan error)
	go func() { _, err := c.Alloc(); failed <- err }()
	<-inScan
	stopped := make(chan struct{})
	go func() { stop(); after.Store(true); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stop has not waited")
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	<-stopped
	if err := <-failed; !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	if _, err := c.Alloc(); !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	if s := a.Stats().Reclaim.Shrinkers; len(s) != 0 {
		t.Errorf("%+v", s)
	}
	stop()
}

// TestUselessShrinker: a shrinker that has freed nothing is left alone until it counts something
// else.
func TestUselessShrinker(t *testing.T) {
	a, c, _ := fullArena(t, "useless")
	count, scans := int64(5), 0
	defer a.AddShrinker(arena.Shrinker{Name: "pinned", Count: func() int64 { return count },
		Scan: func(int64) int64 { scans++; return 0 }})()
	for round, want := range []int{1, 1, 2, 2} {
		if round == 2 {
			count = 6
		}
		if _, err := c.Alloc(); !errors.Is(err, slub.ErrNoMemory) {
			t.Fatal(err)
		}
		if scans != want {
			t.Errorf("round %d: %d scans, want %d", round, scans, want)
		}
	}
}

// TestShrinkerThatDoesNotReturn: a panic comes out of the allocation, runtime.Goexit ends its
// goroutine. Afterwards nothing is locked or lost, and the shrinker is called again.
func TestShrinkerThatDoesNotReturn(t *testing.T) {
	for how, exit := range map[string]func(){"panic": func() { panic("shrinker") }, "Goexit": runtime.Goexit} {
		for where, alloc := range map[string]func(*slub.Cache, *slub.Buckets){
			"Alloc":     func(c *slub.Cache, _ *slub.Buckets) { _, _ = c.Alloc() },
			"AllocBulk": func(c *slub.Cache, _ *slub.Buckets) { _ = c.AllocBulk(make([]unsafe.Pointer, 100)) },
			"Prefill":   func(c *slub.Cache, _ *slub.Buckets) { _, _ = c.Prefill(100) },
			"a run":     func(_ *slub.Cache, b *slub.Buckets) { _, _ = b.Malloc(mib) },
		} {
			t.Run(how+", "+where, func(t *testing.T) {
				a, c, e := fullArena(t, "exit")
				b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)})
				leave := true
				defer a.AddShrinker(arena.Shrinker{Name: "exiting", Count: e.count, Scan: func(n int64) int64 {
					if leave {
						leave = false
						e.scan(10)
						exit()
					}
					return e.scan(n)
				}})()
				before := e.count()
				done := make(chan bool)
				go func() {
					defer func() { done <- recover() != nil }()
					alloc(c, b)
				}()
				if panicked := <-done; panicked != (how == "panic") {
					t.Errorf("the allocation panicked: %v", panicked)
				}
				if in := c.Stats().InUse; int64(in) != before-10 || leave {
					t.Errorf("%d objects in use, want %d", in, before-10)
				}
				if p, err := b.Malloc(mib); err != nil {
					t.Errorf("the shrinker is not called again: %v", err)
				} else {
					b.Free(p)
				}
			})
		}
	}
}

// TestShrinkerThatAllocates: it must not, and where the allocation finds no memory it fails, and
// does not wait for the round that it is in.
func TestShrinkerThatAllocates(t *testing.T) {
	a, c, e := fullArena(t, "reenter")
	var inner error
	defer a.AddShrinker(arena.Shrinker{Name: "reentrant", Count: e.count, Scan: func(n int64) int64 {
		if inner == nil {
			_, inner = c.Alloc()
		}
		return e.scan(n)
	}})()
	p, err := c.Alloc()
	if err != nil {
		t.Error(err)
	}
	c.Free(p)
	if !errors.Is(inner, slub.ErrNoMemory) {
		t.Errorf("inside: %v", inner)
	}
}

// TestShrinkersNearTheLimit: shrinkers are called in the background before an allocation fails,
// when slabs bring the arena near its limit and when a mapping of its own does.
func TestShrinkersNearTheLimit(t *testing.T) {
	for what, near := range map[string]struct {
		limit int64
		come  func(*testing.T, *arena.Arena, *evictable, *slub.Buckets)
	}{
		"slabs": {8 * mib, func(t *testing.T, a *arena.Arena, e *evictable, _ *slub.Buckets) {
			for !a.NearLimit() { // a slab is smaller than the sixteenth that is left
				e.hold(t)
			}
		}},
		"a mapping": {64 * mib, func(t *testing.T, _ *arena.Arena, _ *evictable, b *slub.Buckets) {
			p, err := b.Malloc(62 * mib)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Free(p) })
		}},
	} {
		t.Run(what, func(t *testing.T) {
			a := newArena(t, arena.Config{Limit: near.limit})
			c := open(t, a, slub.Config{Size: 512, Domain: new(rcu.Domain)})
			b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)})
			e := &evictable{c: c}
			defer func() { e.scan(1 << 30) }()
			defer a.AddShrinker(arena.Shrinker{Name: "cold", Count: e.count, Scan: e.scan})()
			for range 500 { // more than one call asks for
				e.hold(t)
			}
			near.come(t, a, e, b)
			// Nothing is allocated from here on: without memory Alloc calls shrinkers, too.
			freed := func() uint64 { return a.Stats().Reclaim.Shrinkers[0].Freed }
			within(t, "a call in the background", func() bool { return freed() > 0 })
			if r := a.Stats().Reclaim; r.Rounds != 0 {
				t.Errorf("%d allocations found no memory", r.Rounds)
			}
			left, n := e.count(), int64(0)
			// Shrink leaves out a shrinker that is running, as the call in the background may be.
			within(t, "a call by Shrink", func() bool { n = a.Shrink(1); return n != 0 })
			if left == 0 || n != left || e.count() != 0 {
				t.Errorf("Shrink has freed %d of %d objects, %d are left", n, left, e.count())
			}
		})
	}
}
