package slab

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// The counters of a rig.
const (
	allocSlab = iota
	freeSlab
	freeAddPartial
	freeRemovePartial
	orderFallback
	cmpxchgDoubleFail
	numCounters
)

// A rig is a Slabs whose only user is the test.
type rig struct {
	*Slabs
	t       testing.TB
	perSlab int
	// What was reported: objects.
	corrupt, doubleFrees []uintptr
	damages              []Damage
}

// open makes a rig with objects of size bytes, in slabs of one page unless cfg says otherwise.
// When the test ends all of its objects must be free.
func open(t testing.TB, size uintptr, cfg Config) *rig {
	t.Helper()
	if cfg.Arena == nil {
		cfg.Arena = newArena(t, arena.Config{})
	}
	cells, err := percpu.NewCounters(numCounters)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, perSlab: int(mem.PageSize << cfg.Order / size)}
	cfg.ID, cfg.Size, cfg.FreePtr = max(cfg.ID, 1), size, mem.AlignDown(size/2, FreePtrSize)
	cfg.Counters = Counters{Cells: cells, AllocSlab: allocSlab, FreeSlab: freeSlab, FreeAddPartial: freeAddPartial,
		FreeRemovePartial: freeRemovePartial, OrderFallback: orderFallback, CmpxchgDoubleFail: cmpxchgDoubleFail}
	cfg.OnCorrupt = func(obj, _ uintptr) { r.corrupt = append(r.corrupt, obj) }
	cfg.OnDoubleFree = func(obj, _ uintptr) { r.doubleFrees = append(r.doubleFrees, obj) }
	cfg.OnDamage = func(d Damage) { r.damages = append(r.damages, d) }
	if r.Slabs, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.counted("at the end")
		if left := r.Shrink(); left != 0 && !t.Failed() {
			t.Errorf("%d slabs are left", left)
		}
		r.counted("when all slabs are back")
		r.FreeCounters()
		_ = cells.Free()
	})
	return r
}

// newArena makes an arena with a small range, which must be empty when the test ends. The nodes of
// a topology that is made up have memory of their own for their lists.
func newArena(t testing.TB, cfg arena.Config) *arena.Arena {
	t.Helper()
	if cfg.Topology != nil && cfg.Topology != numa.System() {
		defer nodemem.AnyNode()()
	}
	cfg.Span = 32 << 20
	a, err := arena.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return // what is left then says nothing new
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// twoNodes is a topology of two nodes with memory.
func twoNodes(t testing.TB) *numa.Topology {
	t.Helper()
	return topology(t, testutil.SysNode{ID: 0, Memory: 1 << 30}, testutil.SysNode{ID: 1, Memory: 1 << 30})
}

// topology is one of the given nodes, the first of which gets the machine's CPUs.
func topology(t testing.TB, nodes ...testutil.SysNode) *numa.Topology {
	t.Helper()
	for cpu := range numa.System().NumCPU() {
		nodes[0].CPUs = append(nodes[0].CPUs, cpu)
	}
	topology, err := numa.LoadFS(testutil.SysFS(nodes...))
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// take takes n objects one by one, from node 0 or others.
func (r *rig) take(n int) []unsafe.Pointer { r.t.Helper(); return r.takeFrom(0, n, false) }

func (r *rig) takeFrom(node, n int, strict bool) []unsafe.Pointer {
	r.t.Helper()
	ps := make([]unsafe.Pointer, n)
	for i := range ps {
		if _, err := r.Take(node, ps[i:i+1], strict); err != nil {
			r.t.Fatal(err)
		}
	}
	return ps
}

func (r *rig) free(ps ...unsafe.Pointer) {
	for _, p := range ps {
		r.Free(p)
	}
}

// fullSlabs takes all objects of n slabs, and returns them by slab.
func (r *rig) fullSlabs(n int) [][]unsafe.Pointer {
	r.t.Helper()
	return slices.Collect(slices.Chunk(r.take(n*r.perSlab), r.perSlab))
}

// detach takes the slab of p off its node's list, as a refill does.
func (r *rig) detach(p unsafe.Pointer) Ref {
	ref := r.slabOf(uintptr(p))
	n := &r.nodes[ref.node]
	n.mu.Lock()
	n.remove(r.Slabs, ref)
	n.mu.Unlock()
	return ref
}

// counted compares the counts of slabs, objects and partial slabs with a walk over the arena, and
// validates the slabs, when they are not in use.
func (r *rig) counted(when string) {
	r.t.Helper()
	nodes, err := r.Recount()
	if err != nil {
		r.t.Errorf("%s: %v", when, err)
	}
	for i, want := range nodes {
		got := r.NodeStats(i)
		got.Remote = 0 // of what was taken, which can't be recounted
		if got != want {
			r.t.Errorf("%s: node %d counts %+v, has %+v", when, i, got, want)
		}
	}
	for slab, problem := range r.Validate() {
		r.t.Errorf("%s: the slab at %#x: %s", when, slab, problem)
	}
}
