package slab

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// fragment makes a number of partial slabs on a node, each with one free object, and returns the
// objects that are out.
func (r *rig) fragment(node, slabs int) (out []unsafe.Pointer) {
	r.t.Helper()
	for i, p := range r.takeFrom(node, slabs*r.perSlab, true) {
		if i%r.perSlab == 0 {
			r.free(p)
		} else {
			out = append(out, p)
		}
	}
	return out
}

// on counts the objects by the index of their node.
func (r *rig) on(objs []unsafe.Pointer) []int {
	nodes := make([]int, len(r.nodes))
	for _, p := range objs {
		nodes[r.arena.NodeIndex(uintptr(p))]++
	}
	return nodes
}

func (r *rig) expectOn(when string, objs []unsafe.Pointer, want ...int) {
	r.t.Helper()
	if got := r.on(objs); !slices.Equal(got, want) {
		r.t.Errorf("%s the nodes gave %v objects, want %v", when, got, want)
	}
}

// expectRemote compares the counts of objects that nodes have given to others.
func (r *rig) expectRemote(when string, want ...int) {
	r.t.Helper()
	for i, n := range want {
		if got := r.NodeStats(i).Remote; got != int64(n) {
			r.t.Errorf("%s: %d objects of node %d are remote, want %d", when, got, i, n)
		}
	}
}

// TestNoWaitCountsRemote takes without a wait what another node has plenty of.
func TestNoWaitCountsRemote(t *testing.T) {
	r := open(t, 1024, Config{Arena: newArena(t, arena.Config{Topology: twoNodes(t)}), MinPartial: 3})
	out := r.fragment(1, 5)
	for want := range 2 {
		p := r.TakeNoWait(0)
		if p == nil {
			t.Fatal("nothing was at hand")
		}
		out = append(out, p)
		r.expectRemote("without waiting", 0, want+1)
	}
	r.FreeBulk(out)
}

// A node that had worked and was idle later gave its free objects to the node that works now, for
// ever: refills came to other nodes' partial slabs before they made slabs of their own.
func TestTakeIsLocal(t *testing.T) {
	r := open(t, 1024, Config{Arena: newArena(t, arena.Config{Topology: twoNodes(t)})})
	far := r.fragment(1, 40)
	bulk := make([]unsafe.Pointer, 5*r.perSlab+1)
	if n, err := r.Take(0, bulk, false); n != len(bulk) || err != nil {
		t.Fatal(n, err)
	}
	r.expectOn("in bulk", bulk, len(bulk), 0)
	near := append(bulk, r.take(7*r.perSlab)...)
	r.expectOn("one by one", near, len(near), 0)
	r.FreeBulk(near)
	near = r.take(len(near))
	r.expectOn("once more", near, len(near), 0)
	r.expectRemote("local refills", 0, 0)
	r.FreeBulk(append(near, far...))
}

// The ratio says how many refills look at other nodes first. None does not even near the limit,
// where the automatic ratio does; and at the limit every ratio takes what there is, the slabs that
// a node keeps for itself as well.
func TestRemoteDefragRatio(t *testing.T) {
	for _, c := range []struct {
		ratio int
		limit int64 // pages that are left
		far   bool  // what a refill is to take first
	}{{ratio: 0, limit: 1000}, {ratio: arena.None, limit: 1000}, {ratio: 100, limit: 1000, far: true},
		{ratio: 0, limit: 1, far: true}, {ratio: 1, limit: 1, far: true}, {ratio: arena.None, limit: 1}} {
		t.Run(fmt.Sprintf("%d with %d pages left", c.ratio, c.limit), func(t *testing.T) {
			a := newArena(t, arena.Config{Topology: twoNodes(t)})
			r := open(t, 1024, Config{Arena: a, RemoteDefragRatio: c.ratio, MinPartial: 3})
			out := r.fragment(1, 40)
			a.SetLimit((40 + c.limit) * mem.PageSize)
			first := r.take(1)
			r.expectOn("at first", first, map[bool][]int{false: {1, 0}, true: {0, 1}}[c.far]...)
			a.SetLimit(a.InUse())
			out = append(out, first...)
			for {
				var one [1]unsafe.Pointer
				if _, err := r.Take(0, one[:], false); errors.Is(err, arena.ErrNoMemory) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				out = append(out, one[0])
			}
			for i := range r.nodes {
				if n := r.NodeStats(i); n.FreeInSlabs != 0 {
					t.Errorf("an allocation has failed while node %d had %d free objects", i, n.FreeInSlabs)
				}
			}
			r.FreeBulk(out)
		})
	}
	r := open(t, 1024, Config{Arena: newArena(t, arena.Config{Topology: twoNodes(t)})})
	out := r.fragment(1, 600)
	for ratio, want := range map[int][2]int{1: {0, 100}, 50: {100, 300}, 99: {300, 400}} {
		r.SetRemoteDefragRatio(ratio)
		got := make([]unsafe.Pointer, 0, 400)
		for range cap(got) {
			p := r.take(1)[0]
			got = append(got, p)
			if r.arena.NodeIndex(uintptr(p)) == 0 {
				got = append(got, r.takeFrom(0, r.perSlab-1, true)...) // the rest of a new slab
			}
		}
		if far := r.on(got)[1]; far < want[0] || far > want[1] {
			t.Errorf("with a ratio of %d, %d refills of 400 took from the other node", ratio, far)
		}
		r.FreeBulk(got)
	}
	r.FreeBulk(out)
}

// What answers for the pages may be near its limit before the arena is.
func TestTakeNearOwnersLimit(t *testing.T) {
	near := false
	r := open(t, 1024, Config{Arena: newArena(t, arena.Config{Topology: twoNodes(t)}), NearLimit: func() bool { return near }})
	out := r.fragment(1, 10)
	r.expectOn("far from the limit", r.keep(&out, r.perSlab), r.perSlab, 0)
	near = true
	r.expectOn("near the limit", r.keep(&out, 3), 0, 3)
	r.FreeBulk(out)
}

// Where the range of a node is used up, the next slab is another node's. What such a node has in
// partial slabs comes first, if that is plenty, and is all taken before an allocation fails.
func TestTakeWithoutOwnMemory(t *testing.T) {
	a := newArena(t, arena.Config{Topology: twoNodes(t)})
	r := open(t, 1024, Config{Arena: a, MinPartial: 3})
	far := r.fragment(1, 5)
	var runs []arena.Run
	fill := func(node int) {
		for {
			run, err := a.AllocPages(1, node)
			if err != nil {
				return
			}
			runs = append(runs, run)
		}
	}
	fill(0)
	r.expectOn("from plenty", r.keep(&far, 2), 0, 2)
	r.expectRemote("from plenty", 0, 2)
	if n := r.NodeStats(1).Slabs; n != 5 {
		t.Errorf("node 1 has %d slabs, its 5 were partial", n)
	}
	r.expectOn("from no plenty", r.keep(&far, 1), 0, 1)
	r.expectRemote("from a new slab", 0, 3)
	if n := r.NodeStats(1).Slabs; n != 6 {
		t.Errorf("node 1 has %d slabs, want a new one beside its 5", n)
	}
	fill(1)
	r.expectOn("from the last", r.keep(&far, r.perSlab-1+3), 0, r.perSlab-1+3)
	r.expectRemote("from the last", 0, r.perSlab+5)
	var one [1]unsafe.Pointer
	if _, err := r.Take(0, one[:], false); !errors.Is(err, arena.ErrExhausted) {
		t.Errorf("without a free object: %v", err)
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
	r.FreeBulk(far)
}

// keep is take, and adds the objects to a list.
func (r *rig) keep(list *[]unsafe.Pointer, n int) []unsafe.Pointer {
	r.t.Helper()
	objs := r.take(n)
	*list = append(*list, objs...)
	return objs
}
