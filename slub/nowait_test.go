package slub

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// all takes objects with AllocNoWait until there are none.
func all(t *testing.T, c *Cache) (ps []unsafe.Pointer) {
	t.Helper()
	for {
		p, err := c.AllocNoWait()
		if err != nil {
			if err != ErrWouldBlock || p != nil {
				t.Errorf("%p, %v", p, err)
			}
			return ps
		}
		ps = append(ps, p)
	}
}

// A partial slab gives its objects one by one, each once, and leaves the list with the
// last; frees list it again.
func TestNoWaitFromSlab(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves})
	ps := take(t, c, c.perSlab)
	freeAll(c, ps[3:])
	got := all(t, c)
	n := c.Stats().Nodes[0]
	if len(got) != c.perSlab-3 || n.Partial != 0 || n.Slabs != 1 {
		t.Fatalf("%d objects of %d, %+v", len(got), c.perSlab, n)
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

// What there is behind a lock that somebody has is left alone, at once. No slab is made
// and no failure counted.
func TestNoWaitDoesNotWait(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves})
	freeAll(c, take(t, c, 3))
	c.slabs.nodes[0].mu.Lock()
	p, err := c.AllocNoWait()
	c.slabs.nodes[0].mu.Unlock()
	if p != nil || err != ErrWouldBlock {
		t.Errorf("under the node's lock: %p, %v", p, err)
	}
	before := c.Stats()
	rest := all(t, c)
	_, err = c.AllocNoWait()
	s := c.Stats()
	if err != ErrWouldBlock || s.Nodes[0].Slabs != before.Nodes[0].Slabs || s.AllocFailures != 0 || s.InUse != uint64(len(rest)) {
		t.Errorf("%v, %+v", err, s)
	}
	freeAll(c, rest)
}

// While the CPU's sheaves are somebody's, objects come from slabs.
func TestNoWaitWhileStackIsHeld(t *testing.T) {
	c := open(t, nil, Config{Size: 64})
	freeAll(c, take(t, c, 200))
	slots := c.sheaves.Slots
	var held []*percpu.Stack
	for cpu := range percpu.NumCPU() {
		held = append(held, slots.LockCPU(cpu, percpu.Main))
	}
	p, err := c.AllocNoWait()
	for _, st := range held {
		st.Unlock()
	}
	if s := c.Stats(); err != nil || s.Events[AllocFastpath]+s.Events[AllocSlowpath] == 0 || c.counter(singleFailed) != 0 {
		t.Errorf("%v, %+v", err, s)
	}
	c.Free(p)
}

// Other nodes give what they have beyond what they keep anyway.
func TestNoWaitFromOtherNode(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	c := open(t, a, Config{Size: 64, Flags: NoSheaves})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := percpu.Pin([]int{0})
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = restore() }()
	remote := 1 - c.localNode()
	var ps []unsafe.Pointer
	for range (int(c.slabs.keep.Load()) + 1) * c.perSlab {
		p, err := c.AllocNode(c.nodeAt(uint8(remote)))
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for i := range int(c.slabs.keep.Load()) + 1 {
		c.Free(ps[i*c.perSlab]) // one of each slab
	}
	if got := all(t, c); len(got) != 1 || c.slabs.arena.NodeIndex(uintptr(got[0])) != remote {
		t.Errorf("%d objects of the other node's %d partial slabs, of which it keeps %d", len(got), c.slabs.keep.Load()+1, c.slabs.keep.Load())
	} else {
		freeAll(c, got)
	}
	for i, p := range ps {
		if i%c.perSlab != 0 {
			c.Free(p)
		}
	}
}

// A chain that leads out of its slab is for those to report who may wait.
func TestNoWaitLeavesCorruptChain(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64, Flags: NoSheaves})
	ps := take(t, c.Cache, c.perSlab)
	freeAll(c.Cache, ps[:3])
	*mem.At[uint64](uintptr(ps[2]) + c.layout.fp) ^= 0xdead << 40
	if p, err := c.AllocNoWait(); p != nil || err != ErrWouldBlock || len(c.reports) != 0 {
		t.Errorf("%p, %v, reports %v", p, err, c.reports)
	}
	p := take(t, c.Cache, 1)[0]
	if len(c.reports) != 1 {
		t.Errorf("reports of Alloc: %v", c.reports)
	}
	c.Free(p)
	freeAll(c.Cache, ps[3:])
	for _, hidden := range ps[:2] {
		c.slabs.free(uintptr(hidden))
	}
}

func TestNoWaitOnClosedCache(t *testing.T) {
	for _, flags := range []Flags{0, NoSheaves} {
		c := open(t, nil, Config{Size: 64, Flags: flags})
		freeAll(c, take(t, c, 10))
		same(t, "Close", c.Close(), nil)
		if p, err := c.AllocNoWait(); p != nil || err != ErrClosed {
			t.Errorf("%p, %v", p, err)
		}
	}
}

// Neither allocates Go memory, whatever comes of it.
func TestNoWaitAllocatesNothing(t *testing.T) {
	if sanitized {
		t.Skip("sanitizers allocate")
	}
	c := open(t, nil, Config{Size: 64})
	freeAll(c, take(t, c, 400))
	var ps [600]unsafe.Pointer
	if n := testing.AllocsPerRun(10, func() {
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
	typed, err := NewTyped[[4]uint64](newArena(t, smallArena), Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := typed.AllocNoWait()
	if p != nil || err != ErrWouldBlock {
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
