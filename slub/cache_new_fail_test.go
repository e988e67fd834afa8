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

// cellsLeft takes all cells of per-CPU memory but n, so that the next one needs a new area.
func cellsLeft(t *testing.T, n int) {
	t.Helper()
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	for {
		c, err := percpu.NewCounters(1)
		if err != nil {
			break
		}
		defer c.Free()
	}
	restore()
	const area = 256
	for range area - n {
		c, err := percpu.NewCounters(1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Free()
	}
}

// holdings are the things that a failed New could leave behind.
type holdings struct {
	cells, numbers, names, caches int
	used                          int64 // bytes of the arena
}

// taken returns how many numbers are handed out.
func (f *numbers) taken() int {
	n := int(max(1, f.next)) - 1
	for length, list := range f.free {
		n -= length * len(list)
	}
	return n
}

func holdingsOf(a *arena.Arena) (h holdings) {
	h.cells = percpu.Cells()
	caches.mu.Lock()
	h.numbers, h.names = caches.numbers.taken(), caches.names.Len()
	caches.mu.Unlock()
	h.caches = count(Caches())
	for _, n := range a.Stats().Nodes {
		h.used += n.Used
	}
	return h
}

// since leaves out that numbers of other closed caches have come back since before.
func (h holdings) since(before holdings) holdings {
	h.numbers = max(h.numbers, before.numbers)
	return h
}

func count[T any](seq iter.Seq[T]) int { return len(slices.Collect(seq)) }

// Wherever New fails it leaves nothing behind, and the next one succeeds.
func TestFailedNewLeavesNothing(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	defer percpu.OnlyNewCells()()
	a := newArena(t, arena.Config{})
	count(Caches()) // makes the registry
	open(t, a, Config{Size: 8})
	for name, cfg := range map[string]Config{
		"sheaves":       {Size: 64, Domain: new(rcu.Domain)},
		"large sheaves": {Size: 64, SheafCapacity: percpu.MaxCap, Domain: new(rcu.Domain)},
		"no sheaves":    {Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain)},
	} {
		cells := 4 // the cache's counters, the slabs', the slots, the sheaves' counters
		mappings := 1
		if cfg.Flags&NoSheaves != 0 {
			cells, mappings = 3, 0
		}
		fail := func(step string) {
			t.Run(name+", "+step, func(t *testing.T) {
				before := holdingsOf(a)
				c, err := New(a, cfg)
				if c != nil || !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
					t.Errorf("New returned %v, %v", c, err)
				}
				if after := holdingsOf(a).since(before); after != before {
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
		after.numbers = before.numbers // comes back when nothing refers to the cache
		if after != before {
			t.Errorf("%s: after Close %+v, before New %+v", name, after, before)
		}
	}
}

// The same for Buckets, which close the caches made so far if one fails.
func TestFailedNewBucketsLeavesNothing(t *testing.T) {
	defer percpu.OnlyNewCells()()
	a := newArena(t, arena.Config{})
	runMarksOf(a) // without it page runs are only less well explained
	cfg := BucketsConfig{Domain: new(rcu.Domain)}
	const each = 4
	for made := 0; made < numClasses; made += 5 {
		cellsLeft(t, made*each+1)
		before := holdingsOf(a)
		// The first mapping after those of the sheaves of the caches made so far.
		restore := sys.FailNth(sys.CallReserve, made+1, syscall.ENOMEM)
		b, err := NewBuckets(a, cfg)
		restore()
		if b != nil || !errors.Is(err, ErrNoMemory) {
			t.Fatalf("with %d caches NewBuckets returned %v", made, err)
		}
		after := holdingsOf(a)
		after.numbers = before.numbers // the span is used up
		if after != before {
			t.Errorf("with %d caches: %+v, before %+v", made, after, before)
		}
	}
}
