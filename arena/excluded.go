package arena

import (
	"fmt"
	"slices"

	"github.com/slubd/slubd/numa"
)

// ErrExcluded says that under numa.Strict the process can have no memory of the node: its cpuset
// excludes the node, or the node's memory is offline. It matches ErrNoMemory.
var ErrExcluded = fmt.Errorf("%w: the node is excluded by the cpuset, or offline", ErrNoMemory)

// restrictTopology respects what the process was bound to by numactl --membind: to the arena, the
// other nodes have no memory. Without that, the policies of its ranges would override the process'.
func (a *Arena) restrictTopology() {
	if a.cfg.Strictness != numa.Off {
		a.topo = a.topo.Restrict(numa.BoundNodes())
	}
}

// excludeZones marks the zones whose node the cpuset of the process excludes. Under numa.Strict the
// kernel would refuse to bind these, and New would fail although other nodes can be used. Where the
// kernel doesn't tell the cpuset, or it has none of the nodes, none is marked and New fails.
func (a *Arena) excludeZones() {
	if a.cfg.Strictness != numa.Strict || a.spread() || a.topo.Assumed() || heapBacked {
		return
	}
	allowed, err := numa.Allowed()
	memory := a.topo.Fallback(a.topo.Nodes()[0]) // every node that has some
	if err != nil || !slices.ContainsFunc(memory, func(n numa.Node) bool { return slices.Contains(allowed, n) }) {
		return
	}
	for i := range a.zones {
		z := &a.zones[i]
		if a.topo.HasMemory(z.node) && !slices.Contains(allowed, z.node) {
			z.excluded.Store(true)
			z.placement = fmt.Sprintf("excluded: the cpuset allows nodes %v", allowed)
		}
	}
}

// memoryOf returns the node that a zone of the given node takes its memory from: itself, or if it
// has none the nearest that has some and is not excluded.
func (a *Arena) memoryOf(node numa.Node) []numa.Node {
	fallback := a.topo.Fallback(node)
	if fallback[0] != node {
		for i, n := range fallback {
			if !a.zones[a.topo.Index(n)].excluded.Load() {
				return fallback[i : i+1]
			}
		}
	}
	return fallback[:1]
}
