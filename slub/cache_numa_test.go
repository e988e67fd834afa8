package slub_test

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// The tests of this file ask the kernel where objects lie (move_pages), not the arena. On a
// machine with one node they test little; `make numa` runs them on a machine with four.

const numaObjects = 300

// machine returns the machine's topology, and the nodes that have memory. What earlier tests had on
// Go's heap, such as the checker's ledgers, goes back to the kernel: it could fill a small node.
func machine(t *testing.T) (*numa.Topology, []numa.Node) {
	t.Helper()
	debug.FreeOSMemory()
	topology := numa.System()
	var memory []numa.Node
	for _, n := range topology.Nodes() {
		if topology.HasMemory(n) {
			memory = append(memory, n)
		}
	}
	engine, reason := slub.Engine()
	t.Logf("nodes %v, with memory %v, engine %s %s", topology.Nodes(), memory, engine, reason)
	return topology, memory
}

// logMemory logs how full the nodes are and what fills them, for a test that has failed.
func logMemory(t *testing.T) {
	t.Helper()
	for _, n := range numa.System().Nodes() {
		total, free := numa.System().Memory(n)
		t.Logf("node %d: %d of %d bytes are free", n, free, total)
	}
	testutil.LogNodes(t, 4*mib)
}

// nodesOf asks the kernel for the node of the page at each address, all of which have been touched.
// While it moves a page, or makes a huge one of several, it tells no node; a read waits for that.
func nodesOf(t *testing.T, addrs []uintptr) []numa.Node {
	t.Helper()
	for range 1000 {
		where, err := numa.Where(addrs)
		if err != nil {
			t.Fatalf("where objects lie: %v", err)
		}
		if !slices.Contains(where, numa.NoNode) {
			return where
		}
		for i, n := range where {
			if n == numa.NoNode {
				atomic.LoadUint32(mem.At[uint32](addrs[i] &^ 3))
			}
		}
	}
	t.Fatal("the kernel has touched pages on no node")
	return nil
}

// lieOn fails unless every object, once touched, is on node according to the kernel and the
// arena.
func lieOn(t *testing.T, c *slub.Cache, node numa.Node, objs []unsafe.Pointer) {
	t.Helper()
	addrs := make([]uintptr, len(objs))
	for i, p := range objs {
		*(*byte)(p) = 1
		addrs[i] = uintptr(p)
	}
	for i, n := range nodesOf(t, addrs) {
		if n != node || c.Arena().NodeOf(addrs[i]) != node {
			logMemory(t)
			t.Fatalf("object %#x of node %d: the kernel has it on %d, the arena on %d", addrs[i], node, n, c.Arena().NodeOf(addrs[i]))
		}
	}
}

// TestNUMAAllocNode wants objects of every node from CPUs of every node.
func TestNUMAAllocNode(t *testing.T) {
	topology, memory := machine(t)
	c := open(t, newArena(t, arena.Config{Topology: topology}), slub.Config{Size: 192})
	for _, from := range topology.Nodes() {
		cpus := topology.CPUs(from)
		if len(cpus) == 0 {
			continue
		}
		pinned(t, cpus[0], func() {
			for _, node := range memory {
				var objs []unsafe.Pointer
				for range numaObjects {
					p, err := c.AllocNode(node)
					if err != nil {
						t.Fatal(err)
					}
					objs = append(objs, p)
				}
				lieOn(t, c, node, objs)
				c.FreeBulk(objs)
			}
		})
	}
}

// TestNUMAWithoutMemory wants an error rather than objects that lie elsewhere.
func TestNUMAWithoutMemory(t *testing.T) {
	topology, memory := machine(t)
	c := open(t, newArena(t, arena.Config{Topology: topology}), slub.Config{Size: 192})
	for _, node := range topology.Nodes() {
		if slices.Contains(memory, node) {
			continue
		}
		_, err := c.AllocNode(node)
		same(t, "AllocNode", err, slub.ErrNoMemory)
		for _, cpu := range topology.CPUs(node) {
			pinned(t, cpu, func() { freeAll(c, take(t, c, numaObjects)) })
		}
	}
	if s := c.Stats(); s.Events[slub.AllocSlowpath] > numaObjects/10 {
		t.Errorf("CPUs of nodes without memory went to slabs %d times", s.Events[slub.AllocSlowpath])
	}
}

// TestNUMASheavesAreLocal wants what a CPU allocates to come from the nearest node with memory,
// after objects of all nodes have been freed there.
func TestNUMASheavesAreLocal(t *testing.T) {
	topology, memory := machine(t)
	if engine, _ := slub.Engine(); engine != "rseq" {
		t.Log("without rseq a CPU is only guessed: placement is best effort, and not checked")
		return
	}
	c := open(t, newArena(t, arena.Config{Topology: topology}), slub.Config{Size: 192})
	for _, from := range topology.Nodes() {
		cpus := topology.CPUs(from)
		if len(cpus) == 0 {
			continue
		}
		pinned(t, cpus[len(cpus)-1], func() {
			for _, node := range memory {
				for range numaObjects {
					p, err := c.AllocNode(node)
					if err != nil {
						t.Fatal(err)
					}
					c.Free(p)
				}
			}
			objs := take(t, c, numaObjects)
			lieOn(t, c, topology.LocalNode(cpus[0]), objs)
			c.FreeBulk(objs)
		})
	}
}

// TestNUMAChecker runs the checker with its workers bound to the machine's CPUs in turn, so that
// objects cross nodes.
func TestNUMAChecker(t *testing.T) {
	topology, _ := machine(t)
	var cpus []int
	for _, n := range topology.Nodes() {
		cpus = append(cpus, topology.CPUs(n)...)
	}
	plan{kinds: everyKind, percent: 3, menu: everyOp,
		arena: arena.Config{Topology: topology, Span: 64 * mib},
		pin: func(worker int) func() {
			runtime.LockOSThread()
			restore, err := numa.SetAffinity(cpus[worker%len(cpus)])
			if err != nil {
				t.Error(err)
				return runtime.UnlockOSThread
			}
			return func() {
				if err := restore(); err != nil {
					t.Error(err)
				}
				runtime.UnlockOSThread()
			}
		},
	}.run(t)
}

// TestNUMAMalloc wants each kind of value on the node of the CPU that asks for it.
func TestNUMAMalloc(t *testing.T) {
	topology, memory := machine(t)
	if engine, _ := slub.Engine(); engine != "rseq" {
		t.Log("without rseq a CPU is only guessed: placement is best effort, and not checked")
		return
	}
	b := openBuckets(t, newArena(t, arena.Config{Topology: topology, Span: 64 * mib}), slub.BucketsConfig{})
	for _, node := range memory {
		cpus := topology.CPUs(node)
		if len(cpus) == 0 {
			continue
		}
		pinned(t, cpus[0], func() {
			for kind, n := range kinds {
				var addrs []uintptr
				for range 4 {
					p := malloc(t, b, n)
					defer b.Free(p)
					for at := 0; at < n; at += 4096 {
						*(*byte)(unsafe.Add(p, at)) = 1
						addrs = append(addrs, uintptr(p)+uintptr(at))
					}
				}
				for i, n := range nodesOf(t, addrs) {
					if n != node {
						logMemory(t)
						t.Fatalf("a %s for node %d has %#x on node %d", kind, node, addrs[i], n)
					}
				}
			}
		})
	}
}
