//go:build !race && !asan

package slub

import (
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// onNode allocates n objects of a node.
func onNode(t *testing.T, c *Cache, node numa.Node, n int) []unsafe.Pointer {
	t.Helper()
	ps := make([]unsafe.Pointer, n)
	for i := range ps {
		var err error
		if ps[i], err = c.AllocNode(node); err != nil {
			t.Fatal(err)
		}
	}
	return ps
}

// An object of another node goes the way that Cache.Free takes: to the CPU's sheaf for that node.
func TestLocalFreesRemoteObjects(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const n = 20
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 3)}), Config{Size: 64})
	// Where no instruction tells the CPU, that is where the goroutine was last found.
	pinned(t, percpu.NumCPU()-1, func() { c.localNodeNow() })
	pinned(t, 0, func() {
		l, err := c.NewLocal(0)
		same(t, "NewLocal", err, nil)
		defer l.Close()
		p, err := l.Alloc()
		same(t, "Alloc", err, nil)
		held := l.Len()
		before := c.Stats()
		for _, node := range []numa.Node{1, 2} {
			for _, p := range onNode(t, c, node, n) {
				l.Free(p)
			}
		}
		s := c.Stats()
		if l.Len() != held || s.Remote.Frees-before.Remote.Frees != 2*n || s.InUse != 1 {
			t.Errorf("it held %d objects and holds %d, %d were freed as remote ones, %d in use", held, l.Len(), s.Remote.Frees, s.InUse)
		}
		l.Free(p)
	})
}

// A Local whose goroutine has moved to another node follows it: with the first object of that node
// which it frees it sends home what it held.
func TestLocalFollows(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 2)}), Config{Size: 64, Hardened: None})
	pinned(t, 0, func() {
		l, err := c.NewLocal(0)
		same(t, "NewLocal", err, nil)
		defer l.Close()
		l.state.own = owner.Of(c.id, 1) // as if it came from there
		for _, p := range onNode(t, c, 1, 10) {
			l.Free(p)
		}
		if l.Len() != 10 {
			t.Fatalf("it holds %d objects", l.Len())
		}
		before := c.Stats().Remote.Objects
		for _, p := range onNode(t, c, 0, 2) {
			l.Free(p)
		}
		s := c.Stats()
		if l.Len() != 2 || s.Remote.Objects != before+10 || s.InUse != 0 {
			t.Errorf("it holds %d objects; %d remote ones are in sheaves, after %d; %d in use", l.Len(), s.Remote.Objects, before, s.InUse)
		}
	})
}

// What a Local gives back goes to its node, also where it holds objects of several, as it may get
// them when memory is short.
func TestLocalOfMixedNodes(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, newArena(t, arena.Config{Topology: fakeNodes(t, 2)}), Config{Size: 64, Hardened: None})
	pinned(t, 0, func() {
		l, err := c.NewLocal(0)
		same(t, "NewLocal", err, nil)
		defer l.Close()
		for i, p := range slices.Concat(onNode(t, c, 1, 5), onNode(t, c, 0, 5), onNode(t, c, 1, 5)) {
			l.state.own = owner.Of(c.id, i/5&1^1)
			if !l.state.push(p) {
				t.Fatalf("object %d isn't kept", i)
			}
		}
		before := c.Stats()
		l.Flush()
		s := c.Stats()
		if s.Remote.Objects != before.Remote.Objects+10 || s.SheafObjects != before.SheafObjects+15 || s.InUse != 0 {
			t.Errorf("sheaves have %d objects, %d of them remote, after %d and %d", s.SheafObjects, s.Remote.Objects,
				before.SheafObjects, before.Remote.Objects)
		}
	})
	c.Shrink()
	counted(t, c, "after Shrink")
}

// Builds with invariants report an object that is freed while the Local holds it.
func TestLocalDoubleFree(t *testing.T) {
	c := openRecorder(t, nil, Config{Size: 64})
	l, err := c.NewLocal(0)
	same(t, "NewLocal", err, nil)
	defer l.Close()
	p, err := l.Alloc()
	same(t, "Alloc", err, nil)
	held := l.Len()
	l.Free(p)
	if !invariants.Enabled {
		return
	}
	l.Free(p)
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.DoubleFree || l.Len() != held+1 {
		t.Errorf("reports %v; it held %d objects and holds %d", c.Reports, held, l.Len())
	}
}

// An operation may come between the two stores by which another goroutine closes the fast path.
// The Local then gives back what it holds, and takes nothing on top of it.
func TestLocalHalfRefused(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, nil, Config{Size: 64, Hardened: None})
	l, err := c.NewLocal(0)
	same(t, "NewLocal", err, nil)
	defer l.Close()
	objs := take(t, c, 40)
	for _, p := range objs {
		l.Free(p)
	}
	if l.Len() != len(objs) {
		t.Fatalf("it holds %d objects", l.Len())
	}
	atomic.StoreUint64(&l.state.low, math.MaxUint64)
	var out []unsafe.Pointer
	for range 2 * len(objs) {
		p, err := l.Alloc()
		same(t, "Alloc", err, nil)
		if slices.Contains(out, p) {
			t.Fatalf("%p is given twice", p)
		}
		out = append(out, p)
	}
	for _, p := range out {
		l.Free(p)
	}
	l.Flush()
	c.Shrink()
	counted(t, c, "after Shrink")
}

// After Close the counts of Locals read 0, as all others do.
func TestLocalCountsEnd(t *testing.T) {
	c, err := New(newArena(t, arena.Config{}), Config{Size: 64})
	same(t, "New", err, nil)
	l, err := c.NewLocal(0)
	same(t, "NewLocal", err, nil)
	for range 100 {
		p, err := l.Alloc()
		same(t, "Alloc", err, nil)
		c.Free(p)
	}
	l.Close()
	same(t, "Close", c.Close(), nil)
	if s := c.Stats(); s.InUse != 0 || s.Locals.Allocs != 0 || s.AllocCPUSheaf != 0 {
		t.Errorf("%d in use, %d allocations, %d of Locals", s.InUse, s.AllocCPUSheaf, s.Locals.Allocs)
	}
	(*Local)(nil).Close()
}

// A request that comes while the Local gives back is honored by the operation after that.
func TestLocalAskedMeanwhile(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, nil, Config{Size: 64, Hardened: None})
	l, err := c.NewLocal(0)
	same(t, "NewLocal", err, nil)
	defer l.Close()
	for range 2 {
		p, err := l.Alloc()
		same(t, "Alloc", err, nil)
		l.Free(p)
	}
	if l.Len() == 0 {
		t.Fatal("it holds nothing")
	}
	c.locals.ask(nil)
	l.state.admit() // what giveAll does first
	c.locals.ask(nil)
	if !l.state.refused() {
		t.Error("the request is forgotten")
	}
	c.closed.Store(true)
	l.state.admit()
	if !l.state.refused() {
		t.Error("the fast path of a closed cache is open")
	}
	c.closed.Store(false)
	l.Flush()
	if l.state.refused() || l.Len() != 0 {
		t.Errorf("after Flush it holds %d objects", l.Len())
	}
}

// A Free that finds the Local full gives half of it to sheaves that have room. If they have none,
// it gives the slabs a portion: what one Free costs does not grow with the Local.
func TestLocalFlushesPortions(t *testing.T) {
	const objects = MaxLocal
	c := open(t, newArena(t, arena.Config{}), Config{
		Size: 64, Hardened: None, SheafCapacity: 240, BarnFull: None, ProfileRate: None, GuardRate: None,
	})
	pinned(t, 0, func() {
		l, err := c.NewLocal(objects)
		same(t, "NewLocal", err, nil)
		defer l.Close()
		ps := make([]unsafe.Pointer, 4*objects)
		for i := range ps {
			ps[i], err = c.Alloc()
			same(t, "Alloc", err, nil)
		}
		c.Shrink()
		flushed := func() uint64 { return c.Stats().Events[SheafFlush] }
		most, gave, kept := uint64(0), 0, 0
		for _, p := range ps {
			before, held := flushed(), l.Len()
			l.Free(p)
			most = max(most, flushed()-before)
			if n := held + 1 - l.Len(); n > 0 {
				gave, kept = max(gave, n), l.Len()
			}
		}
		if most != sheaves.MaxPortion {
			t.Errorf("a Free gave the slabs %d objects, want %d", most, sheaves.MaxPortion)
		}
		if gave != objects/2 {
			t.Errorf("a Free gave the empty sheaves %d objects at most, want %d", gave, objects/2)
		}
		if kept != objects+1-sheaves.MaxPortion {
			t.Errorf("a Free that met full sheaves kept %d objects, want %d", kept, objects+1-sheaves.MaxPortion)
		}
	})
}

// What a full Local gives back is the objects that came last. Those that came first stay.
func TestLocalKeepsTheOldest(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Hardened: None, Debug: "-", ProfileRate: None, GuardRate: None})
	const most = 32
	l, err := c.NewLocal(most)
	same(t, "NewLocal", err, nil)
	defer l.Close()
	ps := take(t, c, most+1)
	for _, p := range ps {
		l.Free(p)
	}
	held := l.state.slots()[:l.Len()]
	kept := len(held) - 1 // and the one that made it give
	if kept >= most || !slices.Equal(held, append(slices.Clone(ps[:kept]), ps[most])) {
		t.Errorf("of %v it holds %v", ps, held)
	}
}
