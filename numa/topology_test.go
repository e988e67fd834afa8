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

// odd is a machine with everything that is unusual: its ids are 0, 2 and 5, node 2 has no memory,
// node 5 no CPU, CPU 3 is offline, and CPUs 6 and 7 are possible but absent.
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

// checkEquations checks the equations of Topology's comment.
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
		0:      {index: 0, cpus: []int{0, 1}, hasMemory: true, fallback: []Node{0, 5}},
		2:      {index: 1, cpus: []int{2, 4}, fallback: []Node{5, 0}},
		5:      {index: 2, hasMemory: true, fallback: []Node{5, 0}},
		1:      {index: -1, fallback: []Node{0, 5}},
		6:      {index: -1, fallback: []Node{0, 5}},
		NoNode: {index: -1, fallback: []Node{0, 5}},
	} {
		if topo.Index(n) != want.index || !slices.Equal(topo.CPUs(n), want.cpus) || topo.HasMemory(n) != want.hasMemory || !slices.Equal(topo.Fallback(n), want.fallback) {
			t.Errorf("node %d: index %d, CPUs %v, memory %v, fallback %v, want %v",
				n, topo.Index(n), topo.CPUs(n), topo.HasMemory(n), topo.Fallback(n), want)
		}
	}
	type place struct{ node, local Node }
	for cpu, want := range map[int]place{
		0:  {node: 0, local: 0},
		2:  {node: 2, local: 5},
		3:  {node: 2, local: 5},
		6:  {node: NoNode, local: 0},
		7:  {node: NoNode, local: 0},
		8:  {node: NoNode, local: 0},
		-1: {node: NoNode, local: 0},
	} {
		if got := (place{node: topo.NodeOf(cpu), local: topo.LocalNode(cpu)}); got != want {
			t.Errorf("CPU %d: %+v, want %+v", cpu, got, want)
		}
	}
	if topo.NumCPU() != 8 {
		t.Errorf("%d possible CPUs, want 8", topo.NumCPU())
	}
	if topo.Distance(0, 5) != 30 || topo.Distance(2, 2) != 10 || topo.Distance(0, 1) != unreachable || topo.Distance(NoNode, 0) != unreachable {
		t.Error("distances are off")
	}
}

func TestFallbackPrefersItself(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, Memory: gib, Distance: []int{20, 10, 20}}, // firmware errs
		testutil.SysNode{ID: 1, Memory: gib},
		testutil.SysNode{ID: 2, Memory: gib},
	))
	for n, want := range [][]Node{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}} {
		if got := topo.Fallback(Node(n)); !slices.Equal(got, want) {
			t.Errorf("fallback of %d is %v, want %v", n, got, want)
		}
	}
}

// Where all nodes fell back on the one with the lowest id, its memory was the first to be used up,
// and all CPUs of nodes without memory worked on it.
func TestFallbackDealsOutTies(t *testing.T) {
	nodes := make([]testutil.SysNode, 12)
	for i := range nodes {
		nodes[i] = testutil.SysNode{ID: i}
		if i < 4 {
			nodes[i].Memory = gib
		}
	}
	topo := load(t, testutil.SysFS(nodes...))
	var first []Node
	for _, n := range topo.Nodes() {
		f := topo.Fallback(n)
		if topo.HasMemory(n) {
			f = f[1:]
		}
		first = append(first, f[0])
	}
	if want := []Node{1, 2, 3, 0, 0, 1, 2, 3, 0, 1, 2, 3}; !slices.Equal(first, want) {
		t.Errorf("the nodes fall back on %v, want %v", first, want)
	}
	// Nodes with higher ids come first. Of these, 2 was the first one for 0.
	nodes[1].Memory, nodes[7].Memory, nodes[9].Memory = 0, gib, gib
	if got := load(t, testutil.SysFS(nodes...)).Fallback(1); !slices.Equal(got, []Node{3, 7, 9, 2, 0}) {
		t.Errorf("fallback of 1 is %v", got)
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

// With numa=fake the kernel lists a CPU on every part of its real node.
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
	for _, c := range []struct{ file, text string }{
		{file: "node/online", text: "0,2,5-"},
		{file: "node/online", text: "0-1024"}, // the table of distances would be large
		{file: "node/has_memory", text: "all"},
		{file: "node/node0/cpulist", text: "0-1;2"},
		{file: "node/node2/distance", text: "10 20"},
		{file: "node/node2/distance", text: "10 20 30 40"},
		{file: "node/node5/distance", text: "10 20 far"},
		{file: "node/node0/distance", text: "0 10 10"},
		{file: "cpu/possible", text: "0-99999"},
	} {
		file, text := c.file, c.text
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
