package numa

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/testutil"
)

const gib = 1 << 30

// odd is a machine with everything that is unusual: ids 0, 2, 5; node 2 has no
// memory, node 5 no CPU; CPU 3 is offline, CPUs 6 and 7 were never plugged in.
func odd() fstest.MapFS {
	tree := testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0, 1}, Memory: 4 * gib, Distance: []int{10, 21, 30}},
		testutil.SysNode{ID: 2, CPUs: []int{2, 4}, Offline: []int{3}, Distance: []int{21, 10, 15}},
		testutil.SysNode{ID: 5, Memory: 8 * gib, Distance: []int{30, 15, 10}},
	)
	tree["devices/system/cpu/possible"] = testutil.Text("0-7")
	return tree
}

func load(t *testing.T, tree fs.FS) *Topology {
	t.Helper()
	topo, err := LoadFS(tree)
	if err != nil {
		t.Fatal(err)
	}
	checkEquations(t, topo)
	return topo
}

// checkEquations verifies what Topology's comment promises.
func checkEquations(t *testing.T, topo *Topology) {
	t.Helper()
	if len(topo.nodes) == 0 || len(topo.info) != len(topo.nodes) || topo.NumCPU() == 0 {
		t.Fatalf("%d nodes, %d infos, %d CPUs", len(topo.nodes), len(topo.info), topo.NumCPU())
	}
	withMemory := 0
	for i, n := range topo.nodes {
		if topo.Index(n) != i || i > 0 && n <= topo.nodes[i-1] || len(topo.info[i].distance) != len(topo.nodes) {
			t.Errorf("node %d at %d: index %d, distances %v", n, i, topo.Index(n), topo.info[i].distance)
		}
		for _, cpu := range topo.CPUs(n) {
			if !slices.Contains(topo.CPUs(topo.NodeOf(cpu)), cpu) {
				t.Errorf("CPU %d is on node %d, which doesn't list it", cpu, topo.NodeOf(cpu))
			}
		}
		if topo.HasMemory(n) {
			withMemory++
		}
	}
	for _, n := range append([]Node{NoNode, 1 << 20}, topo.nodes...) {
		f := topo.Fallback(n)
		if len(f) != withMemory || withMemory == 0 || len(slices.Compact(slices.Sorted(slices.Values(f)))) != len(f) {
			t.Errorf("fallback of %d is %v with %d nodes with memory", n, f, withMemory)
		}
	}
	for cpu := -1; cpu <= topo.NumCPU(); cpu++ {
		if !topo.HasMemory(topo.LocalNode(cpu)) {
			t.Errorf("CPU %d should allocate from node %d, which has no memory", cpu, topo.LocalNode(cpu))
		}
	}
}

func TestOddMachine(t *testing.T) {
	topo := load(t, odd())
	if got := topo.Nodes(); !slices.Equal(got, []Node{0, 2, 5}) || topo.NodeCount() != 3 || topo.Source() != "sysfs" {
		t.Errorf("nodes %v, count %d, source %q", got, topo.NodeCount(), topo.Source())
	}
	for n, want := range map[Node]struct {
		index     int
		cpus      []int
		hasMemory bool
		fallback  []Node
	}{
		0:      {0, []int{0, 1}, true, []Node{0, 5}},
		2:      {1, []int{2, 4}, false, []Node{5, 0}},
		5:      {2, nil, true, []Node{5, 0}},
		1:      {-1, nil, false, []Node{0, 5}},
		6:      {-1, nil, false, []Node{0, 5}},
		NoNode: {-1, nil, false, []Node{0, 5}},
	} {
		if topo.Index(n) != want.index || !slices.Equal(topo.CPUs(n), want.cpus) || topo.HasMemory(n) != want.hasMemory || !slices.Equal(topo.Fallback(n), want.fallback) {
			t.Errorf("node %d: index %d, CPUs %v, memory %v, fallback %v, want %v",
				n, topo.Index(n), topo.CPUs(n), topo.HasMemory(n), topo.Fallback(n), want)
		}
	}
	for cpu, want := range map[int][2]Node{
		0: {0, 0}, 2: {2, 5}, 3: {2, 5}, 6: {NoNode, 0}, 7: {NoNode, 0}, 8: {NoNode, 0}, -1: {NoNode, 0},
	} {
		if got := [2]Node{topo.NodeOf(cpu), topo.LocalNode(cpu)}; got != want {
			t.Errorf("CPU %d: node and local node %v, want %v", cpu, got, want)
		}
	}
	if topo.NumCPU() != 8 {
		t.Errorf("%d possible CPUs, want 8", topo.NumCPU())
	}
	if topo.Distance(0, 5) != 30 || topo.Distance(2, 2) != 10 || topo.Distance(0, 1) != unreachable || topo.Distance(NoNode, 0) != unreachable {
		t.Error("distances are off")
	}
}

func TestFallbackPrefersItselfThenLowId(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, Memory: gib, Distance: []int{20, 10, 20}}, // firmware that calls node 1 nearer than itself
		testutil.SysNode{ID: 1, Memory: gib},
		testutil.SysNode{ID: 2, Memory: gib},
	))
	for n, want := range [][]Node{{0, 1, 2}, {1, 0, 2}, {2, 0, 1}} {
		if got := topo.Fallback(Node(n)); !slices.Equal(got, want) {
			t.Errorf("fallback of %d is %v, want %v", n, got, want)
		}
	}
}

func TestFallbackTiesGoById(t *testing.T) {
	nodes := make([]testutil.SysNode, 40) // enough for an unstable sort to show
	want := []Node{20}
	for i := range nodes {
		nodes[i] = testutil.SysNode{ID: i, Memory: gib}
		if i != 20 {
			want = append(want, Node(i))
		}
	}
	if got := load(t, testutil.SysFS(nodes...)).Fallback(20); !slices.Equal(got, want) {
		t.Errorf("fallback of 20 is %v", got)
	}
}

func TestMemory(t *testing.T) {
	tree := odd()
	topo := load(t, tree)
	if total, free := topo.Memory(5); total != 8*gib || free != 4*gib {
		t.Errorf("node 5 has %d bytes, %d free", total, free)
	}
	tree["devices/system/node/node5/meminfo"] = testutil.Text("Node 5 MemTotal: 2048 kB\nNode 5 MemFree: 1024 kB")
	if total, free := topo.Memory(5); total != 2<<20 || free != 1<<20 {
		t.Errorf("later, node 5 has %d bytes, %d free", total, free)
	}
	for _, text := range []string{
		"",
		"Node 5 MemTotal: 2048 kB",
		"Node 5 MemTotal: x kB\nNode 5 MemFree: 1 kB",
		"Node 5 MemTotal: 18446744073709551615 kB\nNode 5 MemFree: 1 kB",
		"Node 5 MemTotal: 8 MB\nNode 5 MemFree: 1 MB",
		"MemTotal: 5 kB\nMemFree: 1 kB",
	} {
		tree["devices/system/node/node5/meminfo"] = testutil.Text(text)
		if total, free := topo.Memory(5); total != 0 || free != 0 {
			t.Errorf("from %q: %d bytes, %d free", text, total, free)
		}
	}
	if total, free := topo.Memory(1); total != 0 || free != 0 {
		t.Errorf("unknown node has %d bytes, %d free", total, free)
	}
}

// With numa=fake the kernel lists a CPU on every node that is cut from its
// real one.
func TestFakeNodesShareCPUs(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0, 1}, Memory: gib},
		testutil.SysNode{ID: 1, CPUs: []int{0, 1}, Memory: gib},
	))
	if topo.NodeOf(1) != 0 || !slices.Equal(topo.CPUs(1), []int{0, 1}) {
		t.Errorf("CPU 1 on node %d, node 1 has CPUs %v", topo.NodeOf(1), topo.CPUs(1))
	}
}

func TestMalformedFilesAreNamed(t *testing.T) {
	for _, c := range [][2]string{
		{"node/online", "0,2,5-"},
		{"node/online", "0-1024"}, // tables of distances are quadratic
		{"node/has_memory", "all"},
		{"node/node0/cpulist", "0-1;2"},
		{"node/node2/distance", "10 20"},
		{"node/node2/distance", "10 20 30 40"},
		{"node/node5/distance", "10 20 far"},
		{"node/node0/distance", "0 10 10"},
		{"cpu/possible", "0-99999"},
	} {
		file, text := c[0], c[1]
		tree := odd()
		tree["devices/system/"+file] = testutil.Text(text)
		_, err := LoadFS(tree)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "/sys/devices/system/"+file+":") {
			t.Errorf("%s with %q: %v", file, text, err)
		}
		topo := loadOrAssume(tree)
		checkEquations(t, topo)
		if topo.NodeCount() != 1 || !strings.Contains(topo.Source(), file) {
			t.Errorf("%s with %q: source %q", file, text, topo.Source())
		}
	}
}
