package numa

import (
	"slices"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/sys"
)

// BoundNodes returns the nodes that the process takes memory from and no others, ascending, if it
// was started that way (numactl --membind, or set_mempolicy(2) with MPOL_BIND), or nil. The policy
// is that of the calling thread, which threads inherit. nil also where the kernel doesn't tell. The
// policy of a range overrides it: the caller has to respect it. Any goroutine.
func BoundNodes() []Node {
	mode, mask, err := sys.ThreadPolicy()
	if err != nil || mode&^mpolFlags != mpolBind {
		return nil
	}
	var nodes []Node
	for _, id := range cpulist.Mask(mask).IDs() {
		nodes = append(nodes, Node(id))
	}
	return nodes
}

// mpolFlags are the mode flags of <linux/mempolicy.h>: static and relative nodes, balancing.
const mpolFlags = 1<<15 | 1<<14 | 1<<13

// Restrict returns the topology for a process that takes memory from these nodes only: the others
// have no memory, and their CPUs allocate from the nearest that has some. It is t itself if that
// changes nothing, and if none of the nodes has memory.
func (t *Topology) Restrict(nodes []Node) *Topology {
	all := t.info[0].fallback // every node with memory
	left := 0
	for _, n := range all {
		if slices.Contains(nodes, n) {
			left++
		}
	}
	if left == 0 || left == len(all) {
		return t
	}
	r := *t
	r.info = slices.Clone(t.info)
	for i, n := range r.nodes {
		r.info[i].hasMemory = r.info[i].hasMemory && slices.Contains(nodes, n)
	}
	r.order()
	return &r
}
