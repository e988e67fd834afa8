package slub

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"syscall"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// cellsLeft makes n cells of per-CPU memory the last ones before a new area has to be
// mapped.
func cellsLeft(t *testing.T, n int) {
	t.Helper()
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	for {
		c, err := percpu.NewCounters(1)
		if err != nil {
			break
		}
		defer c.Forget()
	}
	restore()
	const area = 256
	for range area - n {
		c, err := percpu.NewCounters(1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Forget()
	}
}

// holdings is all that a failed New could leave behind.
type holdings struct {
	cells, numbers, names, caches int
	used                          uint64 // bytes of the arena
}

func holdingsOf(a *arena.Arena) (h holdings) {
	h.cells = percpu.Cells()
	caches.mu.Lock()
	h.numbers, h.names = len(caches.byID), len(caches.names)
	caches.mu.Unlock()
	h.caches = count(Caches())
	for _, n := range a.Stats().Nodes {
		h.used += n.Used
	}
	return h
}

func count[T any](seq iter.Seq[T]) int { return len(slices.Collect(seq)) }

// Wherever New fails, nothing stays of what it has made by then, and the next one succeeds.
func TestFailedNewLeavesNothing(t *testing.T) {
	a := newArena(t, arena.Config{})
	count(Caches()) // makes the registry
	open(t, a, Config{Size: 8, Flags: NoMerge})
	for name, cfg := range map[string]Config{
		"sheaves":       {Size: 64, Flags: NoMerge, Domain: new(rcu.Domain)},
		"large sheaves": {Size: 64, SheafCapacity: percpu.MaxCap, Domain: new(rcu.Domain)}, // a mapping for each CPU
		"no sheaves":    {Size: 64, Flags: NoSheaves | NoMerge, Domain: new(rcu.Domain)},
	} {
		cells := 3 // the layer's counters, the slots, the sheaves' counters
		mappings := 1
		switch {
		case cfg.Flags&NoSheaves != 0:
			cells, mappings = 2, 0
		case cfg.SheafCapacity != 0:
			mappings = percpu.NumCPU()
		}
		fail := func(step string) {
			t.Run(name+", "+step, func(t *testing.T) {
				before := holdingsOf(a)
				c, err := New(a, cfg)
				if c != nil || !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
					t.Errorf("New returned %v, %v", c, err)
				}
				if after := holdingsOf(a); after != before {
					t.Errorf("%+v, before %+v", after, before)
				}
			})
		}
		for left := range cells {
			cellsLeft(t, left)
			restore := sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
			fail(fmt.Sprintf("%d cells left", left))
			restore()
		}
		cellsLeft(t, 100)
		for n := range mappings {
			restore := sys.FailNth(sys.CallReserve, n+1, syscall.ENOMEM)
			fail(fmt.Sprintf("mapping %d refused", n+1))
			restore()
		}
		before := holdingsOf(a)
		c, err := New(a, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n := percpu.Cells() - before.cells; n != cells {
			t.Errorf("%s: %d cells, and %d failures were tried", name, n, cells)
		}
		c.Free(take(t, c, 1)[0])
		same(t, "Close", c.Close(), nil)
		after := holdingsOf(a)
		after.numbers-- // those of caches that have been there are not given out again
		if after != before {
			t.Errorf("%s: after Close %+v, before New %+v", name, after, before)
		}
	}
}

// The same for Buckets, whose caches are made one after the other: those that are there
// when one fails are closed.
func TestFailedNewBucketsLeavesNothing(t *testing.T) {
	a := newArena(t, arena.Config{})
	cfg := BucketsConfig{Domain: new(rcu.Domain)}
	const each = 3
	for made := 0; made < numClasses; made += 5 {
		cellsLeft(t, made*each+1)
		before := holdingsOf(a)
		// The first mapping that isn't a cache's sheaves.
		restore := sys.FailNth(sys.CallReserve, made+1, syscall.ENOMEM)
		b, err := NewBuckets(a, cfg)
		restore()
		if b != nil || !errors.Is(err, ErrNoMemory) {
			t.Fatalf("with %d caches NewBuckets returned %v", made, err)
		}
		after := holdingsOf(a)
		after.numbers = before.numbers // of a span, used
		if after != before {
			t.Errorf("with %d caches: %+v, before %+v", made, after, before)
		}
	}
}

// What the kernel refuses to us is ErrNoMemory to users.
func TestNoMemoryForBookkeeping(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Size: 64})
	defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
	_, err := New(a, Config{Size: 64, Flags: NoMerge})
	_, errPrefill := c.Prefill(1000)
	for _, err := range []error{err, errPrefill} {
		if !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("got %v, want ErrNoMemory and ENOMEM", err)
		}
	}
}
