package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// takeAll takes all objects of a prefilled sheaf, and fails unless each lies in the node's range.
func takeAll(t *testing.T, c *slub.Cache, pre *slub.Prefilled, node numa.Node) (ps []unsafe.Pointer) {
	t.Helper()
	for p := pre.Alloc(); p != nil; p = pre.Alloc() {
		if got := c.Arena().NodeOf(uintptr(p)); got != node {
			t.Fatalf("an object for node %d is on node %d", node, got)
		}
		ps = append(ps, p)
	}
	return ps
}

// PrefillNode has objects of the node alone, whatever its size, also after Refill, and although
// sheaves and slabs of the other node have some. What is returned stays with its node.
func TestPrefillNode(t *testing.T) {
	a := twoLimited(t, 8*mib)
	c := open(t, a, slub.Config{Size: 64, Hardened: slub.None})
	for range 3 {
		for _, node := range a.Topology().Nodes() {
			freeAll(c, take(t, c, 300))
			for _, n := range []int{1, 60, 1000} {
				pre, err := c.PrefillNode(n, node)
				same(t, "PrefillNode", err, nil)
				if pre.Len() < n {
					t.Errorf("promised %d, has %d", n, pre.Len())
				}
				ps := takeAll(t, c, pre, node)
				last := ps[len(ps)-1]
				if !pre.Free(last) {
					t.Error("an object of the node isn't taken back")
				}
				other, err := c.AllocNode(1 - node)
				same(t, "AllocNode", err, nil)
				if pre.Free(other) {
					t.Error("an object of another node is taken back")
				}
				c.Free(other)
				same(t, "Refill", pre.Refill(n), nil)
				same(t, "Refill to more", pre.Refill(2*n+100), nil)
				if pre.Len() < 2*n+100 {
					t.Errorf("%d objects after a Refill to %d", pre.Len(), 2*n+100)
				}
				ps = append(ps[:len(ps)-1], takeAll(t, c, pre, node)...)
				same(t, "Refill of an empty one", pre.Refill(3), nil)
				pre.Return()
				if s := c.Stats(); s.InUse != uint64(len(ps)) {
					t.Errorf("%d in use of %d", s.InUse, len(ps))
				}
				freeAll(c, ps)
			}
		}
	}
	pre, err := c.PrefillNode(5, numa.NoNode)
	same(t, "PrefillNode of any node", err, nil)
	pre.Return()
}

// A full node is an error, not objects of the other one, after caches gave back what they keep. A
// sheaf whose Refill fails has what it had.
func TestPrefillNodeOfFullNode(t *testing.T) {
	a := twoLimited(t, mib)
	c := open(t, a, slub.Config{Size: 1024, Hardened: slub.None})
	keeps := open(t, a, slub.Config{Size: 512, Hardened: slub.None, MinPartial: 1000})
	for _, node := range a.Topology().Nodes() {
		ps, _ := fillNode(keeps.AllocNode, node)
		freeAll(keeps, ps)
		pre, err := c.PrefillNode(1000, node)
		same(t, "PrefillNode beside a cache that keeps objects", err, nil)
		had := pre.Len()
		err = pre.Refill(1025)
		nodeLimited(t, err, node, mib)
		_, err = c.PrefillNode(100, node)
		nodeLimited(t, err, node, mib)
		ps = takeAll(t, c, pre, node)
		if len(ps) != had {
			t.Error("a Refill that failed has changed the sheaf")
		}
		pre.Return()
		freeAll(c, ps)
	}
}

func TestPrefillNodeErrors(t *testing.T) {
	topology, err := numa.LoadFS(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0, 1}, Memory: 1 << 30}, testutil.SysNode{ID: 1, CPUs: []int{2}}))
	same(t, "LoadFS", err, nil)
	a := newArena(t, arena.Config{Topology: topology})
	c := open(t, a, slub.Config{Size: 64})
	for _, e := range []struct {
		n    int
		node numa.Node
		want error
	}{
		{n: 1, node: 2, want: slub.ErrNode},
		{n: 1, node: 1, want: slub.ErrNoMemory},
		{n: 0, node: 0, want: slub.ErrConfig},
		{n: slub.MaxPrefill + 1, node: 0, want: slub.ErrPrefill},
	} {
		_, err := c.PrefillNode(e.n, e.node)
		same(t, "PrefillNode", err, e.want)
	}
	_, err = open(t, a, slub.Config{Size: 64, Flags: slub.NoSheaves}).PrefillNode(1, 0)
	same(t, "PrefillNode without sheaves", err, slub.ErrConfig)
	typed, err := slub.NewTyped[point](a, slub.Config{})
	same(t, "NewTyped", err, nil)
	pre, err := typed.PrefillNode(10, 0)
	same(t, "PrefillNode of a Typed", err, nil)
	if pre.Len() < 10 {
		t.Errorf("%d Ts", pre.Len())
	}
	pre.Return()
	same(t, "Close", typed.Close(), nil)
	closed, err := slub.New(a, slub.Config{Size: 64})
	same(t, "New", err, nil)
	same(t, "Close", closed.Close(), nil)
	_, err = closed.PrefillNode(1, 0)
	same(t, "PrefillNode of a closed cache", err, slub.ErrClosed)
}

// TestNUMAPrefillNode wants prefilled objects of every node from CPUs of every node, and asks the
// kernel where they are.
func TestNUMAPrefillNode(t *testing.T) {
	topology, memory := machine(t)
	c := open(t, newArena(t, arena.Config{Topology: topology}), slub.Config{Size: 192})
	for _, from := range topology.Nodes() {
		cpus := topology.CPUs(from)
		if len(cpus) == 0 {
			continue
		}
		pinned(t, cpus[0], func() {
			for _, node := range memory {
				pre, err := c.PrefillNode(numaObjects, node)
				same(t, "PrefillNode", err, nil)
				var objs []unsafe.Pointer
				for p := pre.Alloc(); p != nil; p = pre.Alloc() {
					objs = append(objs, p)
				}
				lieOn(t, c, node, objs)
				pre.Return()
				c.FreeBulk(objs)
			}
		})
	}
}
