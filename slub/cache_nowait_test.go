package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// AllocNoWait takes each object of a partial slab once. With the last the slab leaves the list; a
// free lists it again.
func TestNoWaitFromSlab(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	perSlab := c.Stats().ObjectsPerSlab
	ps := take(t, c, perSlab)
	freeAll(c, ps[3:])
	got := all(t, c)
	n := c.Stats().Nodes[0]
	if len(got) != perSlab-3 || n.Partial != 0 || n.Slabs != 1 {
		t.Fatalf("%d objects of %d, %+v", len(got), perSlab, n)
	}
	seen := map[unsafe.Pointer]bool{ps[0]: true, ps[1]: true, ps[2]: true}
	for _, p := range got {
		if seen[p] {
			t.Errorf("%p was handed out twice", p)
		}
		seen[p] = true
	}
	freeAll(c, got[:2])
	if n := c.Stats().Nodes[0]; n.Partial != 1 || n.FreeInSlabs != 2 {
		t.Errorf("after two frees: %+v", n)
	}
	freeAll(c, append(got[2:], ps[:3]...))
}

// Where the slabs have nothing left AllocNoWait says so at once. No slab is made and no failure
// counted. (TestTakeNoWaitTriesLock of package slab holds the lock.)
func TestNoWaitDoesNotWait(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	freeAll(c, take(t, c, 3))
	before := c.Stats()
	rest := all(t, c)
	_, err := c.AllocNoWait()
	s := c.Stats()
	if err != slub.ErrWouldBlock || s.Nodes[0].Slabs != before.Nodes[0].Slabs || s.AllocFailures != 0 || s.InUse != uint64(len(rest)) {
		t.Errorf("%v, %+v", err, s)
	}
	freeAll(c, rest)
}

// While the stack of the CPU is locked, objects come from slabs.
func TestNoWaitWhileStackIsHeld(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	stay(t)
	c := open(t, nil, slub.Config{Size: 64})
	freeAll(c, take(t, c, 200))
	before := slowAllocs(c) // those of take came from slabs, too
	release := holdStacks(c, percpu.Main)
	p, err := c.AllocNoWait()
	release()
	failed, _, _ := slub.UnlistedCounts(c)
	if n := slowAllocs(c) - before; err != nil || n != 1 || failed != 0 {
		t.Errorf("%v, %d objects came from slabs, want 1, %+v", err, n, c.Stats())
	}
	c.Free(p)
}

// AllocNoWait takes objects from other nodes' partial slabs beyond those that these keep.
func TestNoWaitFromOtherNode(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	pinned(t, 0, func() { noWaitFromOtherNode(t) })
}

func noWaitFromOtherNode(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	const minPartial = 5
	c := open(t, a, slub.Config{Size: 64, Flags: slub.NoSheaves, MinPartial: minPartial})
	remote := 1 - localNode(c)
	perSlab := c.Stats().ObjectsPerSlab
	var ps []unsafe.Pointer
	for range (minPartial + 1) * perSlab {
		p, err := c.AllocNode(c.Arena().Topology().Nodes()[remote])
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for i := range minPartial + 1 {
		c.Free(ps[i*perSlab]) // one object of each slab
	}
	if got := all(t, c); len(got) != 1 || c.Arena().NodeIndex(uintptr(got[0])) != remote {
		t.Errorf("%d objects of the other node's %d partial slabs, of which it keeps %d", len(got), minPartial+1, minPartial)
	} else {
		freeAll(c, got)
	}
	for i, p := range ps {
		if i%perSlab != 0 {
			c.Free(p)
		}
	}
}

// AllocNoWait does not report a chain that leads out of its slab; the next Alloc does.
func TestNoWaitLeavesCorruptChain(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	c := openRecorder(t, nil, slub.Config{Size: 64, Hardened: slub.None, Flags: slub.NoSheaves})
	ps := take(t, c.Cache, c.Stats().ObjectsPerSlab)
	freeAll(c.Cache, ps[:3])
	slub.SmashLink(c.Cache, ps[2])
	if p, err := c.AllocNoWait(); p != nil || err != slub.ErrWouldBlock || len(c.Reports) != 0 {
		t.Errorf("%p, %v, reports %v", p, err, c.Reports)
	}
	p := take(t, c.Cache, 1)[0]
	if len(c.Reports) != 1 {
		t.Errorf("reports of Alloc: %v", c.Reports)
	}
	c.Free(p)
	freeAll(c.Cache, ps[3:])
	for _, hidden := range ps[:2] {
		freeToSlab(c.Cache, hidden)
	}
}

func TestNoWaitOnClosedCache(t *testing.T) {
	for _, flags := range []slub.Flags{0, slub.NoSheaves} {
		c := open(t, nil, slub.Config{Size: 64, Flags: flags})
		freeAll(c, take(t, c, 10))
		same(t, "Close", c.Close(), nil)
		if p, err := c.AllocNoWait(); p != nil || err != slub.ErrClosed {
			t.Errorf("%p, %v", p, err)
		}
	}
}

// AllocNoWait and FreeDeferred allocate no Go memory, whether they succeed or not.
func TestNoWaitAllocatesNothing(t *testing.T) {
	if sanitized {
		t.Skip("sanitizers allocate")
	}
	c := open(t, nil, slub.Config{Size: 64})
	freeAll(c, take(t, c, 400))
	var ps [600]unsafe.Pointer
	if n := testutil.GoAllocs(10, func() {
		for i := range ps {
			ps[i], _ = c.AllocNoWait()
		}
		for _, p := range ps {
			c.FreeDeferred(p)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTypedNoWait(t *testing.T) {
	typed, err := slub.NewTyped[[4]uint64](newArena(t, smallArena), slub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := typed.AllocNoWait()
	if p != nil || err != slub.ErrWouldBlock {
		t.Errorf("%p, %v", p, err)
	}
	if p, err = typed.Alloc(); err != nil {
		t.Fatal(err)
	}
	typed.FreeDeferred(p)
	if s := typed.Cache().Stats(); s.DeferredObjects != 1 {
		t.Errorf("%d objects deferred", s.DeferredObjects)
	}
	if p, err = typed.AllocNoWait(); err != nil {
		t.Fatal(err)
	}
	typed.Free(p)
	same(t, "Close", typed.Close(), nil)
}
