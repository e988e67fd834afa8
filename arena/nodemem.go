package arena

import (
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/numa"
)

// NodeMemory returns the memory in which an allocator keeps what belongs to each node, by index in
// the topology: on the node, or on the nearest that has memory for this process. It is nil, which
// stands for Go's heap, where there is one node, under numa.Off, where the topology is assumed,
// where the kernel binds nothing, and with -race. Constant; for allocators.
func (a *Arena) NodeMemory() *nodemem.Nodes { return a.nodeMemory }

// newNodeMemory makes what NodeMemory returns. Preconditions: the zones are bound, as far as they
// are to be.
func (a *Arena) newNodeMemory() *nodemem.Nodes {
	on := make([]numa.Node, len(a.zones))
	for i := range a.zones {
		on[i] = numa.NoNode
		for _, n := range a.topo.Fallback(a.zones[i].node) {
			z := &a.zones[a.topo.Index(n)]
			if nodemem.MayPlace(a.binds() && z.granted && a.cfg.kernelView.has(n)) {
				on[i] = n
				break
			}
		}
	}
	return nodemem.New(on)
}
