package slub_test

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// twoLimited makes an arena of two nodes, each of which may have that many bytes.
func twoLimited(t *testing.T, limit int64) *arena.Arena {
	t.Helper()
	return newArena(t, arena.Config{Topology: fakeNodes(t, 2), NodeLimit: limit, Span: 64 * mib})
}

// fillNode allocates from a node until that fails, and returns the objects and the error.
func fillNode(alloc func(numa.Node) (unsafe.Pointer, error), node numa.Node) (ps []unsafe.Pointer, err error) {
	for {
		p, err := alloc(node)
		if err != nil {
			return ps, err
		}
		ps = append(ps, p)
	}
}

// nodeLimited fails unless err says that the limit of that node is reached.
func nodeLimited(t *testing.T, err error, node numa.Node, limit int64) {
	t.Helper()
	same(t, "beyond the limit of a node", err, arena.ErrNodeLimit)
	same(t, "beyond the limit of a node", err, slub.ErrNoMemory)
	var e *arena.NodeLimitError
	if !errors.As(err, &e) || e.Node != node || e.Limit != limit || e.InUse > limit || e.InUse+e.Bytes <= limit {
		t.Errorf("the error %v says %+v", err, e)
	}
}

// A node at its limit counts as full: AllocNode fails, Alloc takes from the other node until that
// is full, too.
func TestNodeLimit(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	a := twoLimited(t, mib)
	c := open(t, a, slub.Config{Size: 1024, Hardened: slub.None})
	for _, node := range a.Topology().Nodes() {
		ps, err := fillNode(c.AllocNode, node)
		nodeLimited(t, err, node, mib)
		if len(ps) != mib/1024 {
			t.Errorf("%d objects of 1 KiB on node %d", len(ps), node)
		}
		freeAll(c, ps)
		c.Shrink()
	}
	ps := fillArena(t, c)
	on := map[numa.Node]int{}
	for _, p := range ps {
		on[a.NodeOf(uintptr(p))]++
	}
	if on[0] != mib/1024 || on[1] != mib/1024 {
		t.Errorf("objects of 1 KiB in nodes of 1 MiB: %v", on)
	}
	_, err := c.Alloc()
	same(t, "with all nodes full", err, arena.ErrNodeLimit)
	for _, n := range a.Stats().Nodes {
		if n.Limit != mib || n.Charged != mib {
			t.Errorf("stats are %+v", n)
		}
	}
	freeAll(c, ps)
}

// Before AllocNode fails at a node's limit, other caches give back what they keep of the node, and
// freed runs and mappings of the node are discarded.
func TestNodeLimitReclaims(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	a := twoLimited(t, 8*mib)
	keeps := open(t, a, slub.Config{Size: 2048, Hardened: slub.None, MinPartial: 1000})
	wants := open(t, a, slub.Config{Size: 512, Hardened: slub.None})
	b := openBuckets(t, a, slub.BucketsConfig{Hardened: slub.None})
	for _, node := range a.Topology().Nodes() {
		ps, err := fillNode(keeps.AllocNode, node)
		nodeLimited(t, err, node, 8*mib)
		freeAll(keeps, ps)
		ps, err = fillNode(wants.AllocNode, node)
		nodeLimited(t, err, node, 8*mib)
		if len(ps) != 8*mib/512 {
			t.Errorf("%d objects of 512 bytes of node %d, beside a cache that keeps some", len(ps), node)
		}
		freeAll(wants, ps)
		mapping, err := b.MallocNode(6*mib, node)
		same(t, "MallocNode beside a cache that keeps objects", err, nil)
		_, err = b.MallocNode(3*mib, node)
		nodeLimited(t, err, node, 8*mib)
		_, err = b.MallocNode(5*mib, node)
		nodeLimited(t, err, node, 8*mib)
		b.Free(mapping)
		ps, _ = fillNode(keeps.AllocNode, node)
		if len(ps) != 8*mib/2048 {
			t.Errorf("%d objects of 2 KiB on node %d, after a mapping", len(ps), node)
		}
		freeAll(keeps, ps)
	}
}

// Waiting for memory ends at once where no node may ever have that much.
func TestNodeLimitIsNotWaitedFor(t *testing.T) {
	b := openBuckets(t, twoLimited(t, 2*mib), slub.BucketsConfig{})
	_, err := b.MallocContext(t.Context(), 3*mib)
	same(t, "MallocContext of more than a node may have", err, arena.ErrNodeLimit)
}
