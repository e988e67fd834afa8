package nodemem

import (
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Align is the alignment of values in bytes: two cache lines, since adjacent-line prefetchers fetch
// them in pairs.
const Align = 2 * mem.CacheLine

// Nodes says on which node of the machine the values of each index lie. It never changes. A nil
// *Nodes stands for Go's heap.
type Nodes struct {
	machine *machine
	on      []numa.Node // by index; NoNode for Go's heap
}

// New makes a Nodes. on has for each index the node with memory to place its values on, or
// numa.NoNode for Go's heap. The result is nil if all values lie in Go's heap.
func New(on []numa.Node) *Nodes {
	if MayPlace(false) {
		return everyNode.nodes(on)
	}
	return theMachine.nodes(on)
}

func (m *machine) nodes(on []numa.Node) *Nodes {
	if heapOnly || len(on) < 2 || !slices.ContainsFunc(on, func(n numa.Node) bool { return n != numa.NoNode }) {
		return nil
	}
	return &Nodes{machine: m, on: slices.Clone(on)}
}

// On returns the node of the machine that values of an index lie on, or numa.NoNode for Go's heap.
func (n *Nodes) On(i int) numa.Node {
	if n == nil || i >= len(n.on) {
		return numa.NoNode
	}
	return n.on[i]
}

// Make returns n zeroed values, the i-th on the node of index i. They may be used as long as
// something refers to owner, which must not be part of what they are; see the package's comment. T
// holds no pointers into Go's heap. Where memory on a node can't be had, the value lies in Go's
// heap. Any goroutine. It costs a lock, and a system call or two for each 64 KiB of values.
func Make[T, O any](nodes *Nodes, n int, owner *O) []*T {
	values := make([]*T, n)
	if nodes == nil {
		heap := make([]T, n)
		for i := range values {
			values[i] = &heap[i]
		}
		return values
	}
	size := mem.AlignUp(unsafe.Sizeof(*values[0]), Align)
	var slots []slot
	for i := range values {
		if s, ok := nodes.take(i, size); ok {
			values[i] = mem.At[T](s.addr)
			slots = append(slots, s)
		} else {
			values[i] = new(T)
		}
	}
	if len(slots) > 0 {
		runtime.AddCleanup(owner, nodes.machine.put, slots)
	}
	return values
}

// take returns a slot for a value of the index, or false.
func (n *Nodes) take(i int, size uintptr) (slot, bool) {
	on := n.On(i)
	if on == numa.NoNode {
		return slot{}, false
	}
	return n.machine.take(on, size)
}

// anyNode counts the AnyNode that are in force. Then New takes everyNode for the machine.
var anyNode atomic.Int32

// AnyNode makes New take all nodes for nodes of this machine until restore is called. Memory for
// them lies anywhere. For tests of machines with more nodes than this one.
func AnyNode() (restore func()) {
	anyNode.Add(1)
	return func() { anyNode.Add(-1) }
}

// MayPlace reports whether New should be told of a node: the kernel has granted other memory there,
// or AnyNode is in force.
func MayPlace(granted bool) bool { return granted || anyNode.Load() > 0 }
