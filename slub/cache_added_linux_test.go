package slub

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// addedCPUs is a topology of four nodes, to which sysfs has no CPU. The kernel says that all CPUs
// that are added are on node. The second node has no memory, and is next to the last.
func addedCPUs(t *testing.T, node int) *numa.Topology {
	t.Helper()
	tree := testutil.SysFS(
		testutil.SysNode{ID: 0, Memory: 1 << 30}, testutil.SysNode{ID: 1, Distance: []int{40, 10, 30, 20}},
		testutil.SysNode{ID: 3, Memory: 1 << 30}, testutil.SysNode{ID: 6, Memory: 1 << 30})
	tree["devices/system/cpu/possible"] = testutil.Text("0-63")
	topology, err := numa.LoadFS(tree)
	if err != nil {
		t.Fatal(err)
	}
	nodesOf(topology).Ask = func() (int, int, error) {
		cpu, _, err := sys.CPU()
		return cpu, node, err
	}
	return topology
}

// TestAddedCPU: a CPU that sysfs had on no node when the process started allocates on the node that
// the kernel names: there, or nearby if that has no memory, or on the first that has some if the
// topology doesn't have that node.
func TestAddedCPU(t *testing.T) {
	for node, want := range map[int]numa.Node{0: 0, 1: 6, 3: 3, 6: 6, 5: 0, 9: 0} {
		for _, flags := range []Flags{0, NoSheaves} {
			topology := addedCPUs(t, node)
			a := newArena(t, arena.Config{Topology: topology})
			c := open(t, a, Config{Size: 192, Flags: flags})
			twin := open(t, a, Config{Size: 320, Flags: flags}) // has the same table of CPUs
			pinned(t, 0, func() {
				for _, c := range []*Cache{c, twin} {
					objs := take(t, c, 300)
					for i, p := range objs {
						if got := a.NodeOf(uintptr(p)); got != want {
							t.Fatalf("node %d, flags %v: object %d is on node %d, want %d", node, flags, i, got, want)
						}
					}
					freeAll(c, objs)
				}
			})
			if c.shared.nodes != twin.shared.nodes {
				t.Error("two caches of one topology have two tables of CPUs")
			}
		}
	}
}

// monitor returns the guest's way to the monitor of the virtual machine that it runs in, "" if
// there is none.
func monitor() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.TrimSpace(string(text)) == "monitor" {
			return "/dev/" + filepath.Base(filepath.Dir(name))
		}
	}
	return ""
}

// cpusIn reads one of the kernel's lists of CPUs.
func cpusIn(t *testing.T, list string) []int {
	t.Helper()
	text, err := os.ReadFile("/sys/devices/system/cpu/" + list)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := cpulist.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

// addCPU adds a CPU that is possible to the virtual machine and switches it on.
func addCPU(t *testing.T, monitor string, cpu int) {
	t.Helper()
	command := fmt.Sprintf("device_add max-x86_64-cpu,id=added%d,socket-id=%d,core-id=0,thread-id=0\n", cpu, cpu)
	if err := os.WriteFile(monitor, []byte(command), 0); err != nil {
		t.Fatal(err)
	}
	online := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu)
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := os.WriteFile(online, []byte("1"), 0)
		if err == nil {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("CPU %d doesn't come: %v", cpu, err)
		}
	}
}

// TestNUMAAddedCPU adds a CPU to a virtual machine while the process runs, and wants what it
// allocates to be on its node, which isn't the fallback's. .ci/numa boots a machine for it.
func TestNUMAAddedCPU(t *testing.T) {
	m := monitor()
	if m == "" {
		t.Log("no virtual machine's monitor: no CPU can be added")
		return
	}
	topology := numa.System()
	present := cpusIn(t, "present")
	absent := slices.DeleteFunc(cpusIn(t, "possible"), func(cpu int) bool { return slices.Contains(present, cpu) })
	if len(absent) == 0 || topology.NodeOf(absent[0]) != numa.NoNode {
		t.Fatalf("present %v, absent %v", present, absent)
	}
	cpu := absent[0]
	c := open(t, newArena(t, arena.Config{Topology: topology}), Config{Size: 192})
	used := take(t, c, 300)
	addCPU(t, m, cpu)
	now, err := numa.LoadFS(os.DirFS("/sys"))
	if err != nil {
		t.Fatal(err)
	}
	want := now.NodeOf(cpu)
	pinned(t, cpu, func() {
		objs := take(t, c, 1000)
		addrs := make([]uintptr, len(objs))
		for i, p := range objs {
			*(*byte)(p) = 1
			addrs[i] = uintptr(p)
		}
		where, err := numa.Where(addrs)
		if err != nil {
			t.Fatal(err)
		}
		on := map[numa.Node]int{}
		for _, node := range where {
			on[node]++
		}
		t.Logf("CPU %d was added to node %d: objects by node %v", cpu, want, on)
		if want == topology.LocalNode(cpu) || on[want] != len(objs) {
			t.Errorf("CPU %d of node %d, before %d: objects by node %v", cpu, want, topology.LocalNode(cpu), on)
		}
		freeAll(c, objs)
	})
	freeAll(c, used)
}
