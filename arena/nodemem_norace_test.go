//go:build linux && !race

package arena

import (
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// TestNodeMemory: an allocator's words lie on their node or on the nearest one with memory that the
// kernel grants, and in Go's heap where that is none, and where nothing is to be bound.
func TestNodeMemory(t *testing.T) {
	two := func() *fakeKernel { return newFakeKernel() }
	refused := func() *fakeKernel { k := newFakeKernel(); k.refuse = syscall.EPERM; return k }
	four := func() *fakeKernel {
		k := newFakeKernel()
		k.tree = testutil.SysFS(
			testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30, Distance: []int{10, 20, 30, 30}},
			testutil.SysNode{ID: 1, CPUs: []int{1}, Distance: []int{20, 10, 17, 30}},
			testutil.SysNode{ID: 4, Memory: 1 << 30, Distance: []int{30, 17, 10, 30}},
			testutil.SysNode{ID: 5, CPUs: []int{2}, Distance: []int{30, 30, 30, 10}})
		return k
	}
	none := numa.NoNode
	for name, c := range map[string]struct {
		kernel *fakeKernel
		cfg    Config
		lacks  numa.Node // a node that the machine doesn't have
		want   []numa.Node
	}{
		"two nodes":                    {kernel: two(), lacks: none, want: []numa.Node{0, 1}},
		"interleaved":                  {kernel: two(), cfg: Config{Policy: numa.Interleave}, lacks: none, want: []numa.Node{0, 1}},
		"nodes without memory":         {kernel: four(), lacks: none, want: []numa.Node{0, 4, 4, 0}},
		"node 1 is refused":            {kernel: refused(), lacks: none, want: []numa.Node{0, 0}},
		"the machine has no node 1":    {kernel: two(), lacks: 1, want: []numa.Node{0, 0}},
		"the process places by itself": {kernel: two(), cfg: Config{Strictness: numa.Off}, lacks: none, want: []numa.Node{none, none}},
	} {
		view := c.kernel.view()
		view.has = func(n numa.Node) bool { return n != c.lacks }
		c.cfg.Topology, c.cfg.kernelView = load(t, c.kernel.tree), view
		a := open(t, c.cfg)
		var got []numa.Node
		for i := range a.Topology().NodeCount() {
			got = append(got, a.NodeMemory().On(i))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: on nodes %v, want %v", name, got, c.want)
		}
	}
	if a := open(t, Config{Topology: nodes(t, 0)}); a.NodeMemory() != nil {
		t.Error("one node has memory of its own")
	}
}

// TestNUMANodeMemory asks the kernel where an allocator's words for each node lie.
func TestNUMANodeMemory(t *testing.T) {
	topology := numa.System()
	a := open(t, Config{Topology: topology})
	owner := new(int)
	words := nodemem.Make[[16]uint64](a.NodeMemory(), topology.NodeCount(), owner)
	var addrs []uintptr
	for _, w := range words {
		addrs = append(addrs, uintptr(unsafe.Pointer(w)))
	}
	where, err := numa.Where(addrs)
	testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
	for i, node := range topology.Nodes() {
		if want := topology.Fallback(node)[0]; topology.NodeCount() > 1 && where[i] != want {
			t.Errorf("what belongs to node %d lies on node %d, want %d", node, where[i], want)
		}
	}
	runtime.KeepAlive(owner)
}
