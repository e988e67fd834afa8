package machine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/testutil"
)

const gib = 1 << 30

// files puts a fake sysfs where it is in a whole tree, and adds other files.
func files(sys fstest.MapFS, more map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, file := range sys {
		tree["sys/"+name] = file
	}
	for name, text := range more {
		tree[name] = testutil.Text(text)
	}
	return tree
}

// twoSockets is a machine of two packages with two nodes each, two L3 groups to a node, two cores
// to a group, two CPUs to a core, and a node of memory alone. CPU c+16 is the sibling of CPU c.
func twoSockets(more map[string]string) fstest.MapFS {
	all := map[string]string{}
	var nodes []testutil.SysNode
	for n := range 4 {
		cpus := []int{4 * n, 4*n + 1, 4*n + 2, 4*n + 3}
		for _, c := range cpus {
			group := c / 2 * 2
			for _, id := range []int{c, c + 16} {
				dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", id)
				all[dir+"topology/thread_siblings_list"] = fmt.Sprintf("%d,%d", c, c+16)
				all[dir+"topology/physical_package_id"] = fmt.Sprint(n / 2)
				all[dir+"cache/index3/level"] = "3"
				all[dir+"cache/index3/size"] = "32768K"
				all[dir+"cache/index3/shared_cpu_list"] = cpulist.Format([]int{group, group + 1, group + 16, group + 17})
			}
		}
		for _, c := range slices.Clone(cpus) {
			cpus = append(cpus, c+16)
		}
		nodes = append(nodes, testutil.SysNode{ID: n, CPUs: cpus, Memory: 64 * gib,
			Distance: [][]int{{10, 12, 32, 32, 50}, {12, 10, 32, 32, 50}, {32, 32, 10, 12, 50}, {32, 32, 12, 10, 50}}[n]})
	}
	nodes = append(nodes, testutil.SysNode{ID: 4, Memory: 16 * gib, Distance: []int{50, 50, 50, 50, 10}})
	maps.Copy(all, more)
	return files(testutil.SysFS(nodes...), all)
}

func TestReadDescribesNodes(t *testing.T) {
	m := Read(twoSockets(map[string]string{"proc/self/status": "Cpus_allowed_list:\t0-3,16-31"}))
	if len(m.Nodes) != 5 || len(m.L3) != 8 || m.CPUCount() != 20 || m.Source != "sysfs" {
		t.Fatalf("%d nodes, %d groups, %d CPUs, %s", len(m.Nodes), len(m.L3), m.CPUCount(), m.Source)
	}
	n := m.Nodes[1]
	if cpulist.Format(n.CPUs) != "4-7,20-23" || cpulist.Format(n.Allowed) != "20-23" || n.Cores != 4 ||
		!slices.Equal(n.Packages, []int{0}) || n.Memory != 64*gib || n.Free != 32*gib || n.Distances[4] != 50 {
		t.Errorf("%+v", n)
	}
	if g := m.L3[3]; g.Node != 1 || cpulist.Format(g.CPUs) != "6-7,22-23" || g.Size != "32768K" {
		t.Errorf("%+v", g)
	}
}

func TestTextHasAllParts(t *testing.T) {
	var b strings.Builder
	if err := Read(twoSockets(nil)).Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"node  CPUs", "\n4     -", "64 GiB", "32 GiB", "\ndistance to  0", "\nfrom node 3  32", "32768K", "\n! nodes in a package", "\n  nodes  ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), " \n") {
		t.Error("blanks at the end of a line")
	}
}

// TestFindings changes one file at a time, and wants one finding to say so.
func TestFindings(t *testing.T) {
	const status = "Cpus_allowed_list:\t0-31\nMems_allowed_list:\t0-4\n"
	calm := map[string]string{
		"proc/self/status": status, "proc/self/numa_maps": "55d4 default file=/x", "proc/self/cgroup": "0::/job",
		"sys/fs/cgroup/job/cpu.max": "max 100000", "proc/sys/kernel/numa_balancing": "0", "proc/sys/vm/zone_reclaim_mode": "0",
		"sys/kernel/mm/numa/demotion_enabled": "false", "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
		"sys/devices/system/cpu/cpu5/cpufreq/scaling_governor": "performance", "sys/devices/system/cpu/cpufreq/boost": "0",
		"proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu rdtscp\n", "proc/loadavg": "0.10 0.20 0.30 1/99 4711",
	}
	// What this machine has in any case.
	always := []string{"nodes in a package", "memory without CPUs", "CPUs in a core"}
	for _, c := range []struct{ file, text, fact, value, advice string }{
		{},
		{"proc/self/status", "Cpus_allowed_list:\t0-3\nMems_allowed_list:\t0-4\n", "CPUs allowed", "0-3", "of 0-31"},
		{"proc/self/status", "Cpus_allowed_list:\t0-31\nMems_allowed_list:\t0,4\n", "memory allowed", "node 0,4", "node 1-3"},
		{"proc/self/numa_maps", "55d4 bind:1 file=/x", "memory policy", "bind:1", "numactl"},
		{"sys/fs/cgroup/job/cpu.max", "250000 100000", "CPU quota", "2.5 CPUs", "cpu.max"},
		{"sys/devices/system/cpu/isolated", "8-9", "isolated CPUs", "8-9", "-pin 8-9"},
		{"proc/sys/kernel/numa_balancing", "1", "NUMA balancing", "on", "kernel.numa_balancing=0"},
		{"proc/sys/kernel/numa_balancing", "2", "NUMA balancing", "tiering", "kernel.numa_balancing=0"},
		{"proc/sys/vm/zone_reclaim_mode", "1", "zone reclaim", "1", "vm.zone_reclaim_mode=0"},
		{"sys/kernel/mm/numa/demotion_enabled", "true", "demotion", "on", "demotion_enabled"},
		{"sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "transparent huge pages", "always", "echo madvise"},
		{"sys/kernel/mm/ksm/run", "1", "same-page merging", "on", "ksm/run"},
		{"sys/devices/system/cpu/cpu7/cpufreq/scaling_governor", "powersave", "frequency governor", "performance, powersave", "cpupower"},
		{"sys/devices/system/cpu/cpufreq/boost", "1", "boost", "on", "echo 0"},
		{"sys/devices/system/cpu/intel_pstate/no_turbo", "0", "boost", "on", "no_turbo"},
		{"proc/cpuinfo", "flags\t\t: fpu hypervisor\n", "virtual machine", "yes", "spread"},
		{"proc/loadavg", "99.00 0.20 0.30 1/99 4711", "load average", "99.00", "wait"},
		{"sys/devices/system/node/node2/meminfo", "Node 2 MemTotal: 1000 kB\nNode 2 MemFree: 99 kB", "nearly full", "node 2", "drop_caches"},
		{"sys/devices/system/node/node4/cpulist", "15", "memory without CPUs", "", ""}, // no longer
	} {
		text := maps.Clone(calm)
		if c.file != "" {
			text[c.file] = c.text
		}
		var spoils []string
		var found Finding
		for _, f := range Read(twoSockets(text)).Findings {
			if f.Spoils {
				spoils = append(spoils, f.Fact)
			}
			if f.Spoils && f.Fact == c.fact {
				found = f
			}
			if f.Spoils != (f.Advice != "") || f.Value == "" {
				t.Errorf("%+v", f)
			}
		}
		if found.Value != c.value || !strings.Contains(found.Advice, c.advice) {
			t.Errorf("%s is %q: %+v", c.file, c.text, found)
		}
		spoils = slices.DeleteFunc(spoils, func(fact string) bool { return fact == c.fact || slices.Contains(always, fact) })
		if len(spoils) > 0 {
			t.Errorf("%s is %q: also %q", c.file, c.text, spoils)
		}
	}
}

func TestMachineOfOneNode(t *testing.T) {
	for name, tree := range map[string]fstest.MapFS{
		"one node": files(testutil.SysFS(testutil.SysNode{CPUs: []int{0, 1}, Memory: gib}), nil),
		"no files": {},
	} {
		m := Read(tree)
		if len(m.Nodes) != 1 || len(m.L3) != 0 || m.CPUCount() < 1 {
			t.Errorf("%s: %+v", name, m)
		}
		if f := m.Findings[0]; f.Fact != "nodes" || f.Value != "1 node" || !f.Spoils {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestMalformedFilesAreUnknown(t *testing.T) {
	tree := twoSockets(map[string]string{"proc/self/status": "Cpus_allowed_list:\tx", "proc/loadavg": "", "proc/self/cgroup": "0::/",
		"sys/fs/cgroup/cpu.max": "much", "sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list": "x",
		"sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "1-", "sys/devices/system/cpu/cpu0/topology/physical_package_id": "?"})
	if m := Read(tree); m.CPUCount() != 32 || len(m.L3) != 8 {
		t.Errorf("%d CPUs, %d groups", m.CPUCount(), len(m.L3))
	}
	tree["sys/devices/system/node/online"] = testutil.Text("some")
	if m := Read(tree); len(m.Nodes) == 0 { // as package numa assumes
		t.Error("no nodes")
	}
}

func TestChosen(t *testing.T) {
	for text, want := range map[string]string{
		"always [madvise] never": "madvise", "[always] madvise never": "always", "performance": "performance", "": "",
	} {
		if got := Chosen(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
