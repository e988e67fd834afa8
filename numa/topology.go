package numa

import (
	"cmp"
	"slices"

	"github.com/slubd/slubd/internal/sys"
)

// Topology describes the machine's nodes and CPUs as of when it was loaded. It never changes, so
// any goroutine may use it at any time. Its slices are shared and must not be written to.
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
	nodeOf []Node     // by CPU id up to the highest possible one; NoNode where unknown
	source string     // see Source
	assume bool       // see Assumed
	sysfs  sysfs      // for figures that change, see Memory
}

type nodeInfo struct {
	cpus      []int  // online, ascending
	hasMemory bool   // the kernel can place pages here
	distance  []int  // to each of nodes; 10 is local
	fallback  []Node // nodes with memory, nearest first
}

// unreachable is the distance by which ACPI says that there is no path to a node.
const unreachable = 255

// Nodes returns the online nodes in ascending order. Ids may have gaps.
func (t *Topology) Nodes() []Node { return t.nodes }

// NodeCount returns the number of online nodes, at least 1.
func (t *Topology) NodeCount() int { return len(t.nodes) }

// Index returns the position of n in Nodes, 0 to NodeCount-1, or -1 when n is not online.
func (t *Topology) Index(n Node) int {
	if n < 0 || int(n) >= len(t.index) {
		return -1
	}
	return t.index[n]
}

// CPUs returns the online CPUs of n in ascending order; none for an unknown node.
func (t *Topology) CPUs(n Node) []int {
	if i := t.Index(n); i >= 0 {
		return t.info[i].cpus
	}
	return nil
}

// NumCPU returns the highest possible CPU id plus 1: the length of an array that is indexed by CPU
// id.
func (t *Topology) NumCPU() int { return len(t.nodeOf) }

// NodeOf returns the node that a CPU, online or not, belongs to, or NoNode when sysfs doesn't say.
func (t *Topology) NodeOf(cpu int) Node {
	if cpu < 0 || cpu >= len(t.nodeOf) {
		return NoNode
	}
	return t.nodeOf[cpu]
}

// LocalNode returns the node that a CPU should allocate from: its own, or the nearest with memory
// when that has none. It is a node of this topology for any cpu.
func (t *Topology) LocalNode(cpu int) Node { return t.Fallback(t.NodeOf(cpu))[0] }

// Distance returns how far memory on b is for a CPU on a: 10 if local, 255 if a node is unreachable
// or unknown. Distances need not be symmetric.
func (t *Topology) Distance(a, b Node) int {
	i, j := t.Index(a), t.Index(b)
	if i < 0 || j < 0 {
		return unreachable
	}
	return t.info[i].distance[j]
}

// Fallback returns all nodes with memory in the order in which to try them for n: n itself if it
// has memory, then by distance. Of nodes at the same distance each node has another first, as in
// the kernel, so that not all of them fall back on the same one. For an unknown node and NoNode the
// order is that of the first node. It is never empty.
func (t *Topology) Fallback(n Node) []Node { return t.info[max(t.Index(n), 0)].fallback }

// HasMemory reports whether the kernel can place pages on n.
func (t *Topology) HasMemory(n Node) bool {
	i := t.Index(n)
	return i >= 0 && t.info[i].hasMemory
}

// Memory returns the bytes of RAM on n, all and unused, at the time of the call: it reads sysfs.
// Both are 0 when unknown.
func (t *Topology) Memory(n Node) (total, free int64) {
	if t.Index(n) < 0 {
		return 0, 0
	}
	all, unused, err := t.sysfs.memory(n)
	if err != nil && len(t.nodes) == 1 {
		all, unused, err = sys.RAM()
	}
	if err != nil {
		return 0, 0
	}
	return int64(all), int64(unused)
}

// MemoryNow returns the nodes of the topology that have memory at the time of the call, ascending:
// it reads sysfs. Memory that is taken offline leaves its node without any, which the topology's
// tables don't show.
//
// Errors: that of the file that lists such nodes, if it can't be read or is ErrMalformed.
func (t *Topology) MemoryNow() ([]Node, error) {
	ids, err := t.sysfs.list(nodeDir + "has_memory")
	if err != nil {
		return nil, err
	}
	nodes := []Node{}
	for _, id := range ids {
		if n := Node(id); t.Index(n) >= 0 {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// Source says where the description comes from: "sysfs", or what was missing and is assumed
// instead.
func (t *Topology) Source() string { return t.source }

// Assumed reports whether the one node of this topology stands for a machine of which sysfs tells
// no nodes. The machine may have several, and the kernel's node 0 may be any of them: memory is not
// to be bound to it. Source has the reason.
func (t *Topology) Assumed() bool { return t.assume }

// order fills in every node's fallback list. If no node claims to have memory, all are taken to
// have some, since the machine runs.
//
// Of several nodes at the same distance, those with higher ids come first. Among them is first the
// one that is first for the fewest nodes before this one. (Kernel: find_next_best_node, whose
// preference for nodes without CPUs has no effect, since no CPU but one runs when it is called.)
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
	load := make([]int, len(t.index)) // by node id: of how many lists it is the first at a distance
	for i, n := range t.nodes {
		f := slices.Clone(withMemory)
		slices.SortFunc(f, func(a, b Node) int {
			return cmp.Or(cmp.Compare(t.rank(n, a), t.rank(n, b)), cmp.Compare(load[a], load[b]), cmp.Compare(a, b))
		})
		for k, m := range f {
			if m != n && (k == 0 || t.Distance(n, f[k-1]) != t.Distance(n, m)) {
				load[m]++
			}
		}
		t.info[i].fallback = f
	}
}

// rank is the place of a node in the fallback list of another one, before loads count. A node comes
// first for itself, whatever its distance: some firmware errs.
func (t *Topology) rank(from, to Node) int {
	rank := 2 * t.Distance(from, to)
	switch {
	case from == to:
		return 0
	case to < from:
		rank++
	}
	return rank
}
