package numa

import (
	"cmp"
	"slices"

	"github.com/slubd/slubd/internal/sys"
)

// Topology is what was there when it was loaded. It is immutable, so any
// goroutine may ask it at any time. Its slices are shared: read only.
//
//	len(nodes) == len(info) >= 1, nodes ascending
//	index[nodes[i]] == i
//	len(info[i].distance) == len(nodes)
//	len(info[i].fallback) == number of nodes with memory >= 1
//	cpu in CPUs(NodeOf(cpu)) for every online CPU
type Topology struct {
	nodes  []Node     // online nodes
	info   []nodeInfo // parallel to nodes
	index  []int      // by node id: position in nodes, or -1
	nodeOf []Node     // by CPU id up to the highest possible one, or NoNode
	source string     // see Source
	sysfs  sysfs      // for figures that change: see Memory
}

type nodeInfo struct {
	cpus      []int  // online, ascending
	hasMemory bool   // the kernel can place pages here
	distance  []int  // to each of nodes; 10 is local
	fallback  []Node // nodes with memory, nearest first
}

// unreachable is the distance that ACPI gives to a node without a path to it.
const unreachable = 255

// Nodes returns the online nodes in ascending order. Ids may have gaps.
func (t *Topology) Nodes() []Node { return t.nodes }

// NodeCount returns the number of online nodes, at least 1.
func (t *Topology) NodeCount() int { return len(t.nodes) }

// Index returns n's position in Nodes, 0 to NodeCount-1, or -1 when n is not
// online.
func (t *Topology) Index(n Node) int {
	if n < 0 || int(n) >= len(t.index) {
		return -1
	}
	return t.index[n]
}

// CPUs returns the online CPUs of n in ascending order; none for an unknown
// node.
func (t *Topology) CPUs(n Node) []int {
	if i := t.Index(n); i >= 0 {
		return t.info[i].cpus
	}
	return nil
}

// NumCPU returns the number of possible CPUs in the sense of the highest id
// plus 1: what an array indexed by CPU id must hold.
func (t *Topology) NumCPU() int { return len(t.nodeOf) }

// NodeOf returns the node that a CPU belongs to, online or not, or NoNode
// when sysfs doesn't tell.
func (t *Topology) NodeOf(cpu int) Node {
	if cpu < 0 || cpu >= len(t.nodeOf) {
		return NoNode
	}
	return t.nodeOf[cpu]
}

// LocalNode returns the node that a CPU should allocate from: its own, or the
// nearest with memory when that has none. It is a node of this topology for
// any cpu.
func (t *Topology) LocalNode(cpu int) Node { return t.Fallback(t.NodeOf(cpu))[0] }

// Distance returns how far a CPU on a is from memory on b: 10 for local, 255
// for unreachable or unknown nodes. Distances need not be symmetric.
func (t *Topology) Distance(a, b Node) int {
	i, j := t.Index(a), t.Index(b)
	if i < 0 || j < 0 {
		return unreachable
	}
	return t.info[i].distance[j]
}

// Fallback returns all nodes with memory in the order in which to try them for
// n: n itself if it has memory, then by distance, ties by id. For an unknown
// node or NoNode they come as for the first node. Never empty.
func (t *Topology) Fallback(n Node) []Node { return t.info[max(t.Index(n), 0)].fallback }

// HasMemory reports whether the kernel can place pages on n.
func (t *Topology) HasMemory(n Node) bool {
	i := t.Index(n)
	return i >= 0 && t.info[i].hasMemory
}

// Memory returns the bytes of RAM on n, all and unused, as of now: it reads
// sysfs. Both are 0 when unknown.
func (t *Topology) Memory(n Node) (total, free uint64) {
	if t.Index(n) < 0 {
		return 0, 0
	}
	total, free, err := t.sysfs.memory(n)
	if err != nil && len(t.nodes) == 1 {
		total, free, err = sys.RAM()
	}
	if err != nil {
		return 0, 0
	}
	return total, free
}

// Source says where the description comes from: "sysfs", or what was missing
// and is assumed instead.
func (t *Topology) Source() string { return t.source }

// order fills in every node's fallback list. A machine on which no node claims
// memory has some nevertheless, or we would not run.
func (t *Topology) order() {
	var withMemory []Node
	for i, n := range t.nodes {
		if t.info[i].hasMemory {
			withMemory = append(withMemory, n)
		}
	}
	if len(withMemory) == 0 {
		for i := range t.info {
			t.info[i].hasMemory = true
		}
		withMemory = t.nodes
		t.source += "; no node claims memory, so all are taken to have some"
	}
	for i, n := range t.nodes {
		f := slices.Clone(withMemory)
		slices.SortStableFunc(f, func(a, b Node) int { return cmp.Compare(t.rank(n, a), t.rank(n, b)) })
		t.info[i].fallback = f
	}
}

// rank is the distance, except that a node comes first for itself whatever
// the firmware says.
func (t *Topology) rank(from, to Node) int {
	if from == to {
		return 0
	}
	return t.Distance(from, to)
}
