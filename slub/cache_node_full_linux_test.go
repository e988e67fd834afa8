package slub_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// The tests of this file fill a node in a process of its own, which is the first that the kernel's
// OOM killer takes.

// nodeToFill returns a node with memory and CPUs, if possible not the first one. Small says that
// it is there to be filled: it has at most 1 GiB, and there are others.
func nodeToFill(t *testing.T) (topology *numa.Topology, node numa.Node, small bool) {
	t.Helper()
	topology, memory := machine(t)
	node = memory[0]
	for _, n := range memory {
		if len(topology.CPUs(n)) > 0 {
			node = n
		}
	}
	total, _ := topology.Memory(node)
	return topology, node, len(memory) > 1 && total > 0 && total <= 1024*mib
}

// dieFirst makes this process the one that the kernel kills when memory is short.
func dieFirst(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fillWith touches every page of what alloc returns for a node, until that fails, and returns the
// memory and the error. n is the size of each in bytes.
func fillWith(alloc func(n int, node numa.Node) (unsafe.Pointer, error), n int, node numa.Node) ([]unsafe.Pointer, error) {
	return fillNode(func(node numa.Node) (unsafe.Pointer, error) {
		p, err := alloc(n, node)
		for at := 0; err == nil && at < n; at += mem.PageSize {
			*(*byte)(unsafe.Add(p, at)) = 1
		}
		return p, err
	}, node)
}

// TestNUMANodeLimit fills a node up to its automatic limit, of which it leaves what others have in
// use there. Then AllocNode and MallocNode fail with an error, Alloc and Malloc take from other
// nodes, and the process lives, also where the kernel may not take from other nodes by itself. A
// large node, or the only one, is not filled: its limit is 64 MiB.
func TestNUMANodeLimit(t *testing.T) {
	for name, strictness := range map[string]numa.Strictness{"advisory": numa.Advisory, "strict": numa.Strict} {
		t.Run(name, func(t *testing.T) {
			if !testutil.Child(t) {
				return
			}
			dieFirst(t)
			topology, node, small := nodeToFill(t)
			a := newArena(t, arena.Config{Topology: topology, Span: 4 << 30, Strictness: strictness})
			total, free := topology.Memory(node)
			limit, err := a.NodeLimit(node)
			same(t, "NodeLimit", err, nil)
			if limit -= total - free; !small {
				limit = 64 * mib
			}
			same(t, "SetNodeLimit", a.SetNodeLimit(node, limit), nil)
			t.Logf("node %d: %d bytes, %d of them free, limit %d", node, total, free, limit)
			pinned(t, topology.CPUs(node)[0], func() { fillAndGoOn(t, a, node, limit) })
			_, free = topology.Memory(node)
			t.Logf("%d bytes are free at the end", free)
		})
	}
}

// most is the size of what fills most of a node: the kernel gives such memory in huge pages.
const most = 8 * mib

// fillAndGoOn fills a node up to its limit, on one of its CPUs, and checks what the arena's
// allocators do then.
func fillAndGoOn(t *testing.T, a *arena.Arena, node numa.Node, limit int64) {
	c := open(t, a, slub.Config{Size: mem.PageSize})
	b := openBuckets(t, a, slub.BucketsConfig{})
	large, err := fillWith(b.MallocNode, most, node)
	nodeLimited(t, err, node, limit)
	ps, err := fillWith(func(_ int, node numa.Node) (unsafe.Pointer, error) { return c.AllocNode(node) }, mem.PageSize, node)
	nodeLimited(t, err, node, limit)
	if got := int64(len(large))*most + int64(len(ps))*mem.PageSize; got < limit-4*mib {
		t.Errorf("%d bytes of a limit of %d", got, limit)
	}
	lieOn(t, c, node, ps)
	for _, p := range large {
		allOn(t, node, p, most)
	}
	_, free := a.Topology().Memory(node)
	t.Logf("%d mappings and %d pages on node %d, %d bytes are free beside the limit", len(large), len(ps), node, free)
	for _, n := range kinds {
		small, err := fillWith(b.MallocNode, n, node)
		nodeLimited(t, err, node, limit)
		freeAllBy(b.Free, small)
	}
	next, want := a.Topology().Fallback(node), error(nil)
	if len(next) == 1 {
		want = arena.ErrNodeLimit // there is no other node
	}
	for range 1000 {
		p, err := c.Alloc()
		if same(t, "Alloc beside a full node", err, want); err != nil {
			break
		}
		allOn(t, next[1], p, mem.PageSize)
		defer c.Free(p)
	}
	p, err := b.Malloc(most)
	if same(t, "Malloc beside a full node", err, want); err == nil {
		allOn(t, next[1], p, most)
		b.Free(p)
	}
	freeAll(c, ps)
	freeAllBy(b.Free, large)
	c.Shrink()
	p, err = b.MallocNode(most, node)
	same(t, "MallocNode after all has been freed", err, nil)
	b.Free(p)
}

// allOn touches n bytes and fails unless the kernel has them on the node.
func allOn(t *testing.T, node numa.Node, p unsafe.Pointer, n int) {
	t.Helper()
	var addrs []uintptr
	for at := 0; at < n; at += mem.PageSize {
		*(*byte)(unsafe.Add(p, at)) = 1
		addrs = append(addrs, uintptr(p)+uintptr(at))
	}
	for i, on := range nodesOf(t, addrs) {
		if on != node {
			t.Fatalf("%#x lies on node %d, not on node %d", addrs[i], on, node)
		}
	}
}

// TestNUMAFullNodeKills shows what the limit is for: without one, the kernel kills a process that
// fills a node under Strict. On a machine without a small node there is nothing to fill.
func TestNUMAFullNodeKills(t *testing.T) {
	topology, node, small := nodeToFill(t)
	if !small {
		return
	}
	out, isChild, err := testutil.Rerun(t)
	if isChild {
		dieFirst(t)
		a := newArena(t, arena.Config{Topology: topology, Span: 4 << 30, Strictness: numa.Strict, NodeLimit: arena.Unlimited})
		ps, err := fillWith(openBuckets(t, a, slub.BucketsConfig{}).MallocNode, most, node)
		t.Fatalf("the node gave %d mappings and an error: %v", len(ps), err)
	}
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended by %v:\n%s", err, out)
	}
}
