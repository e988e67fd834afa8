package arena

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// mappingCount is the number of mappings of the process.
func mappingCount(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(maps, []byte("\n"))
}

// A new arena uses the addresses of a closed one of the same span and number of nodes. It finds
// them as new: nothing is writable, owned or allocated, and all runs are zero.
func TestRangesAreUsedAgain(t *testing.T) {
	forgetRanges(t)
	cfg := Config{Span: 16 * mib, Topology: nodes(t, 0, 1)}
	a := open(t, cfg)
	var runs []Run
	for _, node := range []numa.Node{0, 1} {
		run := alloc(t, a, MaxOrder-1, node)
		for i := range words(a, run) {
			words(a, run)[i] = 1
		}
		mem.Bytes(uintptr(a.Meta(run.Page)), metaSize)[0] = 1
		a.SetOwner(run.Page, 1<<(MaxOrder-1), 7)
		runs = append(runs, run)
	}
	addr := mapped(t, a, 5*mib)
	mem.Bytes(addr, 5*mib)[0] = 1
	a.Unmap(addr)
	for _, run := range runs {
		a.Free(run.Page)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Config{
		"span":     {Span: 32 * mib, Topology: cfg.Topology},
		"nodes":    {Span: 16 * mib},
		"policies": {Span: 16 * mib, Topology: cfg.Topology, Strictness: numa.Off},
	} {
		if b := open(t, other); b.Base() == a.Base() {
			t.Errorf("an arena of other %s has the range", name)
		}
	}
	b := open(t, cfg)
	if b.Base() != a.Base() || b.Owners() != a.Owners() {
		t.Errorf("the next arena has its range at %#x, not %#x", b.Base(), a.Base())
	}
	if c := open(t, cfg); c.Base() == b.Base() {
		t.Error("two arenas have the same range")
	}
	for _, run := range runs {
		if _, _, ok := b.Head(run.Page); ok || b.Owner(run.Page) != 0 || *(*uint64)(b.Meta(run.Page)) != 0 {
			t.Errorf("page %d has a run, an owner or a record", run.Page)
		}
		again := alloc(t, b, MaxOrder-1, run.Node)
		if again.Page != run.Page || !again.Zero || !allZero(words(b, again)) {
			t.Errorf("%+v after %+v", again, run)
		}
		b.Free(again.Page)
	}
	again, dirty, err := b.Map(5*mib, 0)
	if err != nil || again != addr || dirty != 0 || mem.Bytes(addr, 5*mib)[0] != 0 {
		t.Errorf("mapping %#x after %#x, %d bytes dirty, %v", again, addr, dirty, err)
	}
	b.Unmap(again)
}

// Any number of arenas can be opened, used and closed. They leave a handful of mappings.
func TestArenasWithoutEnd(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	if heapBacked {
		n = 100 // each clears 4 MiB, and tells the detector of each word
	}
	before := mappingCount(t)
	topo := nodes(t, 0)
	for i := range n {
		a, err := New(Config{Name: "connection", Span: 64 * mib, Topology: topo, Decay: None})
		if err != nil {
			t.Fatalf("arena %d: %v", i, err)
		}
		run, err := a.Alloc(i%4, 0)
		if err != nil || !run.Zero || words(a, run)[0] != 0 {
			t.Fatalf("arena %d: %+v, %v", i, run, err)
		}
		words(a, run)[0] = 1
		a.Free(run.Page)
		if err := a.Close(); err != nil {
			t.Fatalf("arena %d: %v", i, err)
		}
	}
	if after := mappingCount(t); after > before+20 {
		t.Errorf("%d mappings, %d before", after, before)
	}
}

// Calls on a closed arena change nothing in the arena that has its range now.
func TestStaleCallsOnClosedArena(t *testing.T) {
	cfg := Config{Span: 16 * mib, Limit: 12 * mib}
	a := open(t, cfg)
	a.Free(alloc(t, a, 3, 0).Page)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, cfg)
	if b.Base() != a.Base() {
		t.Fatal("the next arena has other addresses")
	}
	run := alloc(t, b, 3, 0)
	b.SetOwner(run.Page, 8, 7)
	words(b, run)[0] = 42
	addr := mapped(t, b, 5*mib)
	free := func() (bad bool) {
		defer func() { bad = recover() != nil }()
		a.Free(run.Page)
		return false
	}
	if !free() {
		t.Fatal("Free on a closed arena frees a run of another")
	}
	if a.Unmap(addr) || a.Mapping(addr) != 0 {
		t.Error("a closed arena has a mapping of another")
	}
	for range a.Runs() {
		t.Error("a closed arena has runs")
	}
	a.SetLimit(mem.PageSize)
	a.tick()
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d bytes", n)
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Alloc: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	b.Unmap(addr)
	check(b)
	if head, pages, ok := b.Head(run.Page); head != run.Page || pages != 8 || !ok || b.Owner(run.Page) != 7 || words(b, run)[0] != 42 {
		t.Error("the run of the other arena has changed")
	}
	b.Free(run.Page)
}

// Arenas are opened and closed while others use the addresses that they had, and stale frees of
// closed ones come at any time: no run is lost, or in two arenas.
func TestRangesStress(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	if heapBacked {
		rounds = 10
	}
	topo := nodes(t, 0)
	var stale atomic.Pointer[Arena]
	var workers, late sync.WaitGroup
	var done atomic.Bool
	late.Go(func() {
		for !done.Load() {
			if a := stale.Load(); a != nil {
				func() {
					defer func() { _ = recover() }()
					a.Free(0)
				}()
				a.Purge(0)
			}
		}
	})
	for id := range 3 {
		workers.Go(func() {
			for range rounds {
				a, err := New(Config{Span: 16 * mib, Topology: topo, Decay: None})
				if err != nil {
					t.Error(err)
					return
				}
				var runs []Run
				for order := range 4 {
					run, err := a.Alloc(order, 0)
					if err != nil || words(a, run)[0] != 0 {
						t.Errorf("%+v: %v", run, err)
						return
					}
					words(a, run)[0] = uint64(id + 1)
					runs = append(runs, run)
				}
				for _, run := range runs {
					if words(a, run)[0] != uint64(id+1) {
						t.Error("a run is in two arenas")
					}
					a.Free(run.Page)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
				stale.Store(a)
			}
		})
	}
	workers.Wait()
	done.Store(true)
	late.Wait()
}
