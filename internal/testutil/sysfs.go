package testutil

import (
	"fmt"
	"strings"
	"testing/fstest"

	"github.com/slubd/slubd/internal/cpulist"
)

// SysNode describes one NUMA node of a fake sysfs tree.
type SysNode struct {
	ID       int
	CPUs     []int  // online CPUs; none for a memory-only node
	Offline  []int  // CPUs that are switched off: they exist, but are in no cpulist
	Memory   uint64 // bytes; 0 for a memoryless node
	Distance []int  // to each node of the tree in order; nil: 10 to itself, 20 to the rest
}

// SysFS builds the part of /sys that package numa reads, as Linux writes it: node ids may be
// sparse, and a node's distance file has one column per online node. Half of each node's memory is
// free. Tests may delete or replace files of the result, with [Text].
func SysFS(nodes ...SysNode) fstest.MapFS {
	tree := fstest.MapFS{}
	var ids, withCPU, withMemory, online, possible []int
	for i, n := range nodes {
		ids = append(ids, n.ID)
		if len(n.CPUs) > 0 {
			withCPU = append(withCPU, n.ID)
		}
		if n.Memory > 0 {
			withMemory = append(withMemory, n.ID)
		}
		online = append(online, n.CPUs...)
		possible = append(append(possible, n.CPUs...), n.Offline...)
		n.write(tree, i, len(nodes))
	}
	list := func(ids []int) *fstest.MapFile { return Text(cpulist.Format(ids)) }
	const node, cpu = "devices/system/node/", "devices/system/cpu/"
	tree[node+"online"] = list(ids)
	tree[node+"possible"] = list(ids)
	tree[node+"has_cpu"] = list(withCPU)
	tree[node+"has_memory"] = list(withMemory)
	tree[cpu+"online"] = list(online)
	tree[cpu+"possible"] = list(possible)
	tree[cpu+"present"] = list(possible)
	return tree
}

// write adds nodeN, the i-th of count, to the tree.
func (n SysNode) write(tree fstest.MapFS, i, count int) {
	dir := fmt.Sprintf("devices/system/node/node%d/", n.ID)
	distances := n.Distance
	if distances == nil {
		for j := range count {
			distances = append(distances, 20)
			if j == i {
				distances[j] = 10
			}
		}
	}
	kb := n.Memory >> 10
	tree[dir+"cpulist"] = Text(cpulist.Format(n.CPUs))
	tree[dir+"distance"] = Text(strings.Trim(fmt.Sprint(distances), "[]"))
	tree[dir+"meminfo"] = Text(fmt.Sprintf("Node %[1]d MemTotal:       %[2]d kB\nNode %[1]d MemFree:        %[3]d kB\nNode %[1]d MemUsed:        %[4]d kB",
		n.ID, kb, kb/2, kb-kb/2))
	// sysfs has symbolic links to the CPUs' own directories here.
	for _, cpus := range [][]int{n.CPUs, n.Offline} {
		for _, cpu := range cpus {
			tree[fmt.Sprintf("%scpu%d/uevent", dir, cpu)] = Text("")
		}
	}
}

// Text returns a sysfs file with the given text and a newline.
func Text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n"), Mode: 0o444} }
