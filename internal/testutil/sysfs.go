package testutil

import (
	"fmt"
	"strings"
	"testing/fstest"
)

// SysNode describes one NUMA node of a fake sysfs tree.
type SysNode struct {
	ID       int
	CPUs     []int  // online CPUs; none for a memory-only node
	Offline  []int  // CPUs that are switched off: known, but in no cpulist
	Memory   uint64 // bytes; 0 for a memoryless node
	Distance []int  // to each node of the tree in order; nil: 10 to itself, 20 to the rest
}

// SysFS builds the part of /sys that package numa reads, as Linux writes it:
// node ids may be sparse, a distance row has one column per online node. Half
// of each node's memory is free. The result is a map: tests go on to delete or
// replace files, with [Text], to make it odd.
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
	const node, cpu = "devices/system/node/", "devices/system/cpu/"
	tree[node+"online"] = Text(list(ids))
	tree[node+"possible"] = Text(list(ids))
	tree[node+"has_cpu"] = Text(list(withCPU))
	tree[node+"has_memory"] = Text(list(withMemory))
	tree[cpu+"online"] = Text(list(online))
	tree[cpu+"possible"] = Text(list(possible))
	tree[cpu+"present"] = Text(list(possible))
	return tree
}

// write adds nodeN, the i-th of count, to the tree.
func (n SysNode) write(tree fstest.MapFS, i, count int) {
	dir := fmt.Sprintf("devices/system/node/node%d/", n.ID)
	row := n.Distance
	if row == nil {
		for j := range count {
			row = append(row, 20)
			if j == i {
				row[j] = 10
			}
		}
	}
	kb := n.Memory >> 10
	tree[dir+"cpulist"] = Text(list(n.CPUs))
	tree[dir+"distance"] = Text(strings.Trim(fmt.Sprint(row), "[]"))
	tree[dir+"meminfo"] = Text(fmt.Sprintf("Node %[1]d MemTotal:       %[2]d kB\nNode %[1]d MemFree:        %[3]d kB\nNode %[1]d MemUsed:        %[4]d kB",
		n.ID, kb, kb/2, kb-kb/2))
	// sysfs has symbolic links to the CPUs' own directories here.
	for _, cpus := range [][]int{n.CPUs, n.Offline} {
		for _, cpu := range cpus {
			tree[fmt.Sprintf("%scpu%d/uevent", dir, cpu)] = Text("")
		}
	}
}

// list writes numbers in sysfs' list format. Ranges are left to the tests of
// the parser.
func list(ids []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ids), "[]"), " ", ",")
}

// Text is a sysfs file with one trailing newline.
func Text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n"), Mode: 0o444} }
