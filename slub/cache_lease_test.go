package slub

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
)

// numbersTaken returns how many numbers are not free.
func numbersTaken() int {
	caches.mu.Lock()
	defer caches.mu.Unlock()
	return caches.numbers.taken()
}

// collected runs the collector until done reports that what it had to find was found.
func collected(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		runtime.GC()
		time.Sleep(time.Millisecond) // cleanups have a goroutine of their own
	}
	t.Errorf("%s: the collector has found nothing", what)
}

// TestNumbersAndCellsComeBack: caches and Buckets that come and go use no more numbers and per-CPU
// cells in the end than in the beginning, however they were closed. It has a process of its own,
// because other tests may leave closed caches that the collector finds at any time.
func TestNumbersAndCellsComeBack(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	numbers := numbersTaken()
	a := newArena(t, arena.Config{})
	for name, open := range map[string]func() error{
		"cache": func() error {
			c, err := New(a, Config{Size: 64, Domain: new(rcu.Domain)})
			if err != nil {
				return err
			}
			c.FreeRCU(take(t, c, 1)[0])
			return c.Close()
		},
		"aliases": func() error {
			d := new(rcu.Domain)
			c, err := New(a, Config{Size: 64, Flags: Merge, Domain: d})
			other, err2 := New(a, Config{Size: 64, Flags: Merge, Domain: d})
			return errors.Join(err, err2, c.Close(), other.Close())
		},
		"no sheaves": func() error {
			c, err := New(a, Config{Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain)})
			return errors.Join(err, c.Close())
		},
		"Buckets": func() error {
			b, err := NewBuckets(a, BucketsConfig{Domain: new(rcu.Domain)})
			if err != nil {
				return err
			}
			b.Free(malloc(t, b, 100))
			return b.Close()
		},
		"page class": func() error {
			b, err := NewBuckets(a, BucketsConfig{Domain: new(rcu.Domain)})
			if err != nil {
				return err
			}
			b.makePageClass(0)
			return b.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Cleanups come in any order, so that some rounds take cells before those of the last
			// round are back.
			const rounds, often = 1000, 25
			again, cells := 0, percpu.NewCells()
			for i := 0; i < rounds && again < often; i++ {
				same(t, "open and close", open(), nil)
				collected(t, "numbers", func() bool { return numbersTaken() <= numbers })
				again++
				if now := percpu.NewCells(); now != cells {
					again, cells = 0, now
				}
			}
			if again < often {
				t.Errorf("after %d rounds there are new cells every %d", rounds, often)
			}
		})
	}
}

// TestClosedCacheKeepsItsNumber: as long as a closed cache is referred to, however indirectly, no
// other gets its number or its cells.
func TestClosedCacheKeepsItsNumber(t *testing.T) {
	a := newArena(t, arena.Config{})
	cfg := Config{Size: 64, Domain: new(rcu.Domain)}
	for name, hold := range map[string]func(c *Cache) any{
		"the cache":      func(c *Cache) any { return c },
		"the sheaves":    func(c *Cache) any { return c.sheaves },
		"the slabs":      func(c *Cache) any { return c.slabs },
		"an operation":   func(c *Cache) any { return c.pop.Func() },
		"a slow path":    func(c *Cache) any { return c.freeSlow },
		"the free queue": func(c *Cache) any { return &c.freeQueue },
		"a prefilled sheaf": func(c *Cache) any {
			p, err := c.Prefill(1)
			if err != nil {
				t.Fatal(err)
			}
			p.Return()
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(a, cfg)
			if err != nil {
				t.Fatal(err)
			}
			id, stacks, counters := c.id, c.stacks, c.counters
			held := hold(c)
			same(t, "Close", c.Close(), nil)
			c = nil
			var others []*Cache
			for range 8 {
				runtime.GC()
				other, err := New(a, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if other.id == id || other.stacks == stacks || other.counters == counters {
					t.Errorf("another cache has number %d, %+v, %+v", other.id, other.stacks, other.counters)
				}
				others = append(others, other)
			}
			runtime.KeepAlive(held)
			for _, other := range others {
				same(t, "Close", other.Close(), nil)
			}
		})
	}
}

// TestNumbersDoNotRunOut: when all numbers were handed out, New has the collector find those of
// caches that nothing refers to, and an error says what is the matter if there are none.
func TestNumbersDoNotRunOut(t *testing.T) {
	if out, isChild, err := testutil.Rerun(t); !isChild {
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	all := numClasses + len(pageClassSizes) + 25 // Buckets fit once
	caches.numbers.next = uint32(owner.MaxCaches - all)
	a := newArena(t, arena.Config{})
	cfg := Config{Size: 64, Domain: new(rcu.Domain)}
	for range 2 * all {
		c, err := New(a, cfg)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "Close", c.Close(), nil)
	}
	for range 3 { // spans, from what came back one by one
		b, err := NewBuckets(a, BucketsConfig{Domain: new(rcu.Domain)})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "Close", b.Close(), nil)
	}
	var open []*Cache
	for {
		c, err := New(a, cfg)
		if err != nil {
			if !strings.Contains(err.Error(), "caches are open, or were closed and are still referred to") {
				t.Error(err)
			}
			break
		}
		open = append(open, c)
	}
	if len(open) != all {
		t.Errorf("%d caches with %d numbers", len(open), all)
	}
	for _, c := range open {
		same(t, "Close", c.Close(), nil)
	}
}

// TestNumbers: no number is handed out twice, and the rest of a longer span serves a shorter one.
func TestNumbers(t *testing.T) {
	f := numbers{next: owner.MaxCaches - 10}
	got := map[uint32]bool{}
	use := func(first uint32, n int) {
		t.Helper()
		for i := range uint32(n) {
			if first == 0 || got[first+i] || first+i >= owner.MaxCaches {
				t.Fatalf("%d of %d: taken already, or no number", first+i, n)
			}
			got[first+i] = true
		}
	}
	giveBack := func(first uint32, n int) {
		f.give(first, n)
		for i := range uint32(n) {
			delete(got, first+i)
		}
	}
	a := f.take(7)
	use(a, 7)
	b := f.take(3)
	use(b, 3)
	if f.take(1) != 0 {
		t.Error("an eleventh of ten")
	}
	giveBack(a, 7)
	c := f.take(2)
	use(c, 2)
	d := f.take(5)
	use(d, 5)
	giveBack(b, 3)
	for range 3 {
		use(f.take(1), 1)
	}
	if f.take(1) != 0 || f.taken() != owner.MaxCaches-1 {
		t.Errorf("%d taken", f.taken())
	}
}
