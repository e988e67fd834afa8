package numa

import (
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

func TestWithoutSysfs(t *testing.T) {
	topo := load(t, fstest.MapFS{})
	if topo.NodeCount() != 1 || topo.NumCPU() < runtime.NumCPU() || len(topo.CPUs(0)) < runtime.NumCPU() || topo.NodeOf(0) != 0 {
		t.Errorf("%d nodes, %d CPUs", topo.NodeCount(), topo.NumCPU())
	}
	if !topo.Assumed() {
		t.Error("the topology doesn't say that it is assumed")
	}
	if s := topo.Source(); !strings.Contains(s, "one node assumed") || !strings.Contains(s, "node/online") {
		t.Errorf("source %q does not say what is missing", s)
	}
	total, free := topo.Memory(0)
	if runtime.GOOS == "linux" && (total == 0 || free > total) {
		t.Errorf("%d bytes, %d free", total, free)
	}
	if total, free := topo.Memory(1); total != 0 || free != 0 {
		t.Errorf("a node that isn't there has %d bytes, %d free", total, free)
	}
}

// The kernel may refuse the affinity mask as well.
func TestWithoutSysfsAndCalls(t *testing.T) {
	for _, c := range []sys.Call{sys.CallAffinity, sys.CallRAM} {
		defer sys.FailNth(c, 0, errors.ErrUnsupported)()
	}
	topo := load(t, fstest.MapFS{})
	if topo.NumCPU() != runtime.NumCPU() {
		t.Errorf("%d CPUs, the runtime has %d", topo.NumCPU(), runtime.NumCPU())
	}
	if total, free := topo.Memory(0); total != 0 || free != 0 {
		t.Errorf("%d bytes, %d free, although nothing tells", total, free)
	}
}

// A kernel without CONFIG_NUMA lists CPUs, but no nodes.
func TestKernelWithoutNUMA(t *testing.T) {
	tree := fstest.MapFS{
		"devices/system/cpu/online":   testutil.Text("0,2"),
		"devices/system/cpu/possible": testutil.Text("0-5"),
	}
	topo := load(t, tree)
	if !slices.Equal(topo.CPUs(0), []int{0, 2}) || topo.NumCPU() != 6 || topo.NodeOf(5) != 0 {
		t.Errorf("CPUs %v of %d, CPU 5 on node %d", topo.CPUs(0), topo.NumCPU(), topo.NodeOf(5))
	}
	for file := range tree {
		broken := fstest.MapFS{file: testutil.Text("x")}
		if _, err := LoadFS(broken); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), file) {
			t.Errorf("malformed %s: %v", file, err)
		}
	}
}

// denied is a tree whose files may not be read.
type denied struct{}

func (denied) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestUnreadableSysfs(t *testing.T) {
	topo := load(t, denied{})
	if topo.NodeCount() != 1 || !strings.Contains(topo.Source(), "permission denied") {
		t.Errorf("%d nodes, source %q", topo.NodeCount(), topo.Source())
	}
}

func TestMissingFiles(t *testing.T) {
	const node, cpu = "devices/system/node/", "devices/system/cpu/"
	for name, c := range map[string]struct {
		missing []string
		ok      func(*Topology) bool
	}{
		"no distance": {
			missing: []string{node + "node0/distance", node + "node2/distance", node + "node5/distance"},
			ok:      func(t *Topology) bool { return t.Distance(0, 0) == 10 && t.Distance(0, 5) == 20 },
		},
		"no has_memory, but meminfo": {
			missing: []string{node + "has_memory"},
			ok:      func(t *Topology) bool { return t.HasMemory(0) && !t.HasMemory(2) },
		},
		"neither": {
			missing: []string{node + "has_memory", node + "node2/meminfo"},
			ok:      func(t *Topology) bool { return t.HasMemory(2) },
		},
		"no possible": {
			missing: []string{cpu + "possible"},
			ok:      func(t *Topology) bool { return t.NumCPU() == 5 },
		},
		"no cpulist": {
			missing: []string{node + "node0/cpulist"},
			ok:      func(t *Topology) bool { return len(t.CPUs(0)) == 0 && t.NodeOf(1) == 0 },
		},
		"no CPU at all": {
			missing: []string{cpu + "possible", node + "node0/cpulist", node + "node2/cpulist", node + "node5/cpulist",
				node + "node0/cpu0/uevent", node + "node0/cpu1/uevent",
				node + "node2/cpu2/uevent", node + "node2/cpu3/uevent", node + "node2/cpu4/uevent"},
			ok: func(t *Topology) bool { return t.NumCPU() >= runtime.NumCPU() && t.NodeOf(0) == NoNode },
		},
	} {
		tree := odd()
		for _, file := range c.missing {
			if tree[file] == nil {
				t.Fatalf("%s: there was no %s", name, file)
			}
			delete(tree, file)
		}
		if topo := load(t, tree); !c.ok(topo) {
			t.Errorf("%s: %+v", name, topo)
		}
	}
}

func TestNoNodeClaimsMemory(t *testing.T) {
	topo := load(t, testutil.SysFS(testutil.SysNode{ID: 0, CPUs: []int{0}}, testutil.SysNode{ID: 1}))
	if !topo.HasMemory(0) || !topo.HasMemory(1) || !strings.Contains(topo.Source(), "no node claims memory") {
		t.Errorf("memory %v %v, source %q", topo.HasMemory(0), topo.HasMemory(1), topo.Source())
	}
}

func TestNoNodeOnline(t *testing.T) {
	tree := odd()
	tree["devices/system/node/online"] = testutil.Text("")
	if topo := load(t, tree); topo.NodeCount() != 1 || !strings.Contains(topo.Source(), "none is listed") {
		t.Errorf("%d nodes, source %q", topo.NodeCount(), topo.Source())
	}
}

// No text in any file may crash LoadFS or give a topology that breaks its equations.
func FuzzLoadFS(f *testing.F) {
	f.Add("0-1", "0-1", "0-3", "10 20", "0-1", "Node 0 MemTotal: 1 kB\nNode 0 MemFree: 1 kB")
	f.Add("0,5", "5", "", "10 20", "0,70", "")
	f.Add("", "x", "0-3", "", "", "Node 0 MemTotal: -1 kB")
	f.Fuzz(func(t *testing.T, online, hasMemory, possible, distance, cpulist, meminfo string) {
		if len(online)+len(possible)+len(cpulist) > 1000 {
			return // longer lists test nothing more
		}
		tree := fstest.MapFS{
			"devices/system/node/online":         testutil.Text(online),
			"devices/system/node/has_memory":     testutil.Text(hasMemory),
			"devices/system/cpu/possible":        testutil.Text(possible),
			"devices/system/node/node0/distance": testutil.Text(distance),
			"devices/system/node/node0/cpulist":  testutil.Text(cpulist),
			"devices/system/node/node0/meminfo":  testutil.Text(meminfo),
		}
		topo, err := LoadFS(tree)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if topo.NodeCount() > 64 {
			return // checkEquations takes too long
		}
		checkEquations(t, topo)
		topo.Memory(0)
	})
}

// A node whose file says that it has memory has some, also if the list of such nodes lacks it.
func TestListLacksNodeWithMemory(t *testing.T) {
	topo := load(t, fstest.MapFS{
		"devices/system/node/online":        testutil.Text("0-2"),
		"devices/system/node/has_memory":    testutil.Text("1"),
		"devices/system/node/node0/meminfo": testutil.Text("Node 0 MemTotal: 1024 kB\nNode 0 MemFree: 512 kB"),
		"devices/system/node/node1/meminfo": testutil.Text("Node 1 MemTotal: 1024 kB\nNode 1 MemFree: 512 kB"),
		"devices/system/node/node2/meminfo": testutil.Text("Node 2 MemTotal: 0 kB\nNode 2 MemFree: 0 kB"),
	})
	if !topo.HasMemory(0) || !topo.HasMemory(1) || topo.HasMemory(2) {
		t.Errorf("memory on %v, want 0 and 1", topo.Fallback(0))
	}
	if s := topo.Source(); !strings.Contains(s, "has_memory lacks node 0") {
		t.Errorf("source %q doesn't say that the list is wrong", s)
	}
}
