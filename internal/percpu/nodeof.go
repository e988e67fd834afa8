package percpu

import (
	"slices"
	"sync/atomic"

	"github.com/slubd/slubd/internal/sys"
)

// NodeOf has for each CPU the index of the node that it allocates on. Any goroutine may read it.
// The words of CPUs whose node wasn't known at the start are written by Nodes.Find, each of them
// once. Until then such a CPU counts as one of the fallback's.
type NodeOf []atomic.Uint32

// unknown marks a word of NodeOf that has the fallback's index. Read and masked as one word, the
// index and the mark belong together.
const unknown = 1 << 31

// Index returns the index of the node that a CPU allocates on. For a CPU that is not Known it may
// be another one the next time. What outlives the call, as a stack's owner word does, must not
// depend on it.
func (n NodeOf) Index(cpu int) int { return int(n[cpu].Load() &^ unknown) }

// Known reports whether Index is going to stay.
func (n NodeOf) Known(cpu int) bool { return n[cpu].Load()&unknown == 0 }

// Nodes are a NodeOf and what it takes to complete it. The kernel doesn't tell the node of a CPU
// that is not there yet, and tells no process that one was added. It tells each thread the CPU and
// the node that it runs on.
type Nodes struct {
	NodeOf
	byNode   []int // by the kernel's number of a node: the index on which its CPUs allocate, or -1
	fallback int
	// Ask asks where the calling thread runs. It is sys.CPU; tests of other machines replace it
	// before the table is used.
	Ask func() (cpu, node int, err error)
}

// NewNodes makes the table of the possible CPUs. Each CPU has its index in of, or a negative number
// if its node isn't known. byNode has for each node by its number the index on which its CPUs
// allocate, negative for nodes that don't count. fallback is the index for all other nodes. If all
// CPUs can only have the same index, all are known.
func NewNodes(of, byNode []int, fallback int) *Nodes {
	n := &Nodes{NodeOf: make(NodeOf, NumCPU()), byNode: byNode, fallback: fallback, Ask: sys.CPU}
	ask := false
	for _, i := range byNode {
		ask = ask || i >= 0 && i != fallback
	}
	for cpu := range n.NodeOf {
		word := uint32(fallback)
		switch {
		case cpu < len(of) && of[cpu] >= 0:
			word = uint32(of[cpu])
		case ask:
			word |= unknown
		}
		n.NodeOf[cpu].Store(word)
	}
	return n
}

// Homes returns the indexes that CPUs have or may get, in ascending order. Find may note a CPU's
// index meanwhile: then either this index is among them, or all are that the CPU could get.
func (n *Nodes) Homes() []int {
	homes := []int{}
	for cpu := range n.NodeOf {
		if !n.Known(cpu) {
			homes = append(homes, n.byNode...)
		}
		homes = append(homes, n.Index(cpu))
		slices.Sort(homes)
		homes = slices.Compact(homes)
	}
	return slices.DeleteFunc(homes, func(i int) bool { return i < 0 })
}

// Find asks the kernel where the calling thread runs, by a system call, for a caller that needs to
// know the node of cpu. The kernel's answer is a CPU and its node at the same moment. So it is
// noted for the CPU that it names, and is right also if the thread has moved to that CPU since the
// caller has looked, or moves before it is noted. cpu is then as unknown as before.
//
// If the kernel doesn't answer, or names a CPU that the table doesn't have, cpu keeps the fallback:
// another call would not tell more.
func (n *Nodes) Find(cpu int) {
	at, node, err := n.Ask()
	i := n.fallback
	if err != nil || at >= len(n.NodeOf) {
		at = cpu
	} else if node < len(n.byNode) && n.byNode[node] >= 0 {
		i = n.byNode[node]
	}
	n.NodeOf[at].CompareAndSwap(uint32(n.fallback)|unknown, uint32(i))
}
