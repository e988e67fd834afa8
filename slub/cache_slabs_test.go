package slub_test

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// A node keeps an empty slab only if it has fewer than MinPartial partial slabs, the empty one
// included.
func TestMinPartial(t *testing.T) {
	withoutSamples(t) // it counts slabs
	c := open(t, nil, slub.Config{Size: 1024, Flags: slub.NoSheaves, MinPartial: 3, Slabs: slub.SlabLimits{MinObjects: 1}})
	empty := func(want uint64) {
		t.Helper()
		freeAll(c, take(t, c, 80)) // 20 slabs
		if got := c.Stats().Nodes[0].Slabs; got != want {
			t.Errorf("%d empty slabs are kept, want %d", got, want)
		}
	}
	empty(2)
	same(t, "SetMinPartial", c.SetMinPartial(8), nil)
	empty(7)
	same(t, "SetMinPartial", c.SetMinPartial(0), nil)
	c.Shrink()
	empty(4)
	same(t, "SetMinPartial", c.SetMinPartial(slub.None), nil)
	c.Shrink()
	empty(0)
	if err := (slub.Config{Size: 8, MinPartial: -2}).Validate(); !errors.Is(err, slub.ErrConfig) {
		t.Error(err)
	}
}

// A shuffled slab hands out each of its objects once, and slabs differ in where they begin.
func TestShuffleFreelist(t *testing.T) {
	withoutSamples(t) // it says which object comes next
	a := newArena(t, arena.Config{})
	c := open(t, a, slub.Config{Size: 64, Hardened: slub.None, Flags: slub.NoSheaves | slub.ShuffleFreelist})
	perSlab := c.Stats().ObjectsPerSlab
	orders := map[string]bool{}
	for range 8 {
		ps := take(t, c, perSlab)
		slab := slabOf(c, ps[0])
		var order strings.Builder
		seen := make([]bool, perSlab)
		inTurn := 0
		last := uintptr(perSlab - 1)
		for i, p := range ps {
			k := (uintptr(p) - slab) / 64
			if k >= uintptr(perSlab) || seen[k] {
				t.Fatalf("object %d of the slab at %#x is %p", i, slab, p)
			}
			seen[k] = true
			if k == (last+1)%uintptr(perSlab) {
				inTurn++
			}
			last = k
			order.WriteByte(byte(k))
		}
		orders[order.String()] = true
		if inTurn > len(ps)/2 {
			t.Errorf("%d of %d objects come after their neighbours", inTurn, len(ps))
		}
		defer freeAll(c, ps)
	}
	if len(orders) < 4 {
		t.Errorf("8 slabs have %d orders", len(orders))
	}
	plain := open(t, a, slub.Config{Size: 64, Hardened: slub.None, Flags: slub.NoSheaves})
	ps := take(t, plain, plain.Stats().ObjectsPerSlab)
	if !slices.IsSortedFunc(ps, comparePointers) {
		t.Error("without the flag objects don't come in the order of addresses")
	}
	freeAll(plain, ps)
}

// A slab of less than the preferred order hands out only its own objects, in random order.
func TestShuffleSmallSlab(t *testing.T) {
	withoutSamples(t) // it says which object comes next
	a := newArena(t, arena.Config{Span: 8 * mib})
	var runs []arena.Run
	for {
		run, err := a.Alloc(0, 0)
		if err != nil {
			break
		}
		runs = append(runs, run)
	}
	a.Free(runs[7].Page)
	orders := map[[8]unsafe.Pointer]bool{}
	for range 4 {
		c := open(t, a, slub.Config{Size: 512, Flags: slub.NoSheaves | slub.ShuffleFreelist, Slabs: slub.SlabLimits{MinOrder: 3}})
		for range 32 {
			ps := take(t, c, 8)
			for _, p := range ps {
				if uintptr(p)&^(mem.PageSize-1) != a.Addr(runs[7].Page) {
					t.Errorf("object %p isn't in the only page", p)
				}
			}
			orders[[8]unsafe.Pointer(ps)] = true
			slices.SortFunc(ps, comparePointers)
			if len(slices.Compact(slices.Clone(ps))) != 8 {
				t.Error("an object was handed out twice")
			}
			freeAll(c, ps)
			c.Shrink() // the next slab is new, and begins elsewhere in the cache's order
		}
	}
	// From one order for all caches, such as that of the addresses, there are 8 with their starts.
	// A random order for each makes as few in less than one of 10^10 runs.
	if len(orders) <= 8 {
		t.Errorf("128 slabs of 4 caches have %d orders", len(orders))
	}
	for i, run := range runs {
		if i != 7 {
			a.Free(run.Page)
		}
	}
}

// An object that its slab is given twice in a row is reported, and is free once. Objects that were
// freed in the same call are free, too.
func TestImmediateDoubleFree(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	c := openRecorder(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	ps := take(t, c.Cache, 4)
	for name, twice := range map[string]struct {
		free func()
		n    int
	}{
		"Free":     {func() { c.Free(ps[0]); c.Free(ps[0]) }, 1},
		"FreeBulk": {func() { c.FreeBulk([]unsafe.Pointer{ps[0], ps[0]}) }, 1},
		"a chain":  {func() { c.Free(ps[0]); c.FreeBulk([]unsafe.Pointer{ps[1], ps[2], ps[0]}) }, 3},
	} {
		c.Reports = nil
		first := ps[0]
		twice.free()
		if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.DoubleFree || c.Reports[0].Addr != uintptr(first) {
			t.Errorf("%s: reports %v", name, c.Reports)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		back := take(t, c.Cache, twice.n)
		slices.SortFunc(back, comparePointers)
		want := slices.SortedFunc(slices.Values(ps[:twice.n]), comparePointers)
		if !slices.Equal(back, want) {
			t.Errorf("%s: %v are free, want %v", name, back, want)
		}
	}
	freeAll(c.Cache, ps)
}

func comparePointers(p, q unsafe.Pointer) int { return cmp.Compare(uintptr(p), uintptr(q)) }

// Shrink leaves objects alone that wait for a grace period.
func TestShrinkLeavesWaiting(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{})
	r := m.Domain().Register("reader")
	ps := take(t, m.Cache, 200)
	freeRCU(m.Cache, ps)
	if left := m.Shrink(); left == 0 || m.Died.Load() != 0 || m.Stats().RCUObjects != 200 {
		t.Errorf("%d slabs left, %d destructors run, %d objects wait", left, m.Died.Load(), m.Stats().RCUObjects)
	}
	_ = r.Close()
}

// NodeStats.Remote counts what a node had to give to CPUs of another one, object by object, and
// neither what is local nor what AllocNode wants.
func TestRemoteObjectsAreCounted(t *testing.T) {
	var cpus []int
	for cpu := range numa.System().NumCPU() {
		cpus = append(cpus, cpu)
	}
	topology, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: cpus, Memory: 1 << 30}, testutil.SysNode{ID: 1, Memory: 1 << 30}))
	if err != nil {
		t.Fatal(err)
	}
	a := newArena(t, arena.Config{Topology: topology})
	c := open(t, a, slub.Config{Size: 128})
	remote := func(when string, want uint64) {
		t.Helper()
		if s := c.Stats(); s.Nodes[0].Remote != 0 || s.Nodes[1].Remote != want {
			t.Errorf("%s: %d and %d objects are remote, want 0 and %d", when, s.Nodes[0].Remote, s.Nodes[1].Remote, want)
		}
	}
	for range 100 {
		p, err := c.AllocNode(1)
		if err != nil {
			t.Fatal(err)
		}
		c.Free(p)
	}
	local := take(t, c, 1000)
	remote("with memory", 0)
	same(t, "SetNodeLimit", a.SetNodeLimit(0, arena.None), nil)
	far := take(t, c, 1000)
	n := 0
	for _, p := range far {
		if a.NodeOf(uintptr(p)) == 1 {
			n++
		}
	}
	got := c.Stats().Nodes[1].Remote
	if n == 0 || got < uint64(n) {
		t.Errorf("%d objects of 1000 lie on node 1, and %d are counted", n, got)
	}
	same(t, "SetNodeLimit", a.SetNodeLimit(0, arena.Unlimited), nil)
	freeAll(c, far)
	c.Shrink() // what is left in sheaves of the other node
	freeAll(c, take(t, c, 1000))
	remote("with memory again", got)
	freeAll(c, local)
}
