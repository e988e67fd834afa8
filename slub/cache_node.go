package slub

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// misplaced returns why objects of a node would not lie there, nil if they do as far as is known.
func (c *Cache) misplaced(node int) error {
	if e := c.Arena().PlacementError(node); e != nil && !(e.FirstTouch && node == c.localNodeNow()) {
		return e
	}
	return nil
}

// AllocNode returns an object on the given node, or an error: it does not fall back on other nodes.
// For the CPU's node, a pair of AllocNode and Free is one restartable sequence each, as with Alloc.
// For another node, with CPUs or without, one sequence is tried for each node that is nearer, up to
// seven. Nodes further away, caches with Hooks, InitOnAlloc or
// InitOnFree, and the first call take a slower path in Go. With numa.NoNode it is Alloc. Any
// goroutine.
//
// The guarantee is as recent as the arena's last look (arena.Config.Observe): an object may lie on
// another node if it got its pages since then, while its node was full. AllocNode fails with
// ErrPlacement, and an *arena.PlacementError, if the kernel reports many such pages, refuses to
// place memory, or can't be asked. A kernel that only refuses to place memory takes each page from
// the node of the CPU that touches it first: there, AllocNode of the calling CPU's node succeeds.
// With numa.Off nothing is placed, and any object will do that lies in the arena's range for the
// node.
//
// Errors: ErrNode for a node that the topology doesn't have; ErrNoMemory, also for a node without
// memory; arena.ErrNodeLimit (errors.As finds an *arena.NodeLimitError) where the node is full and
// ErrPlacement, which both match ErrNoMemory; ErrClosed. (Kernel: kmem_cache_alloc_node with
// __GFP_THISNODE.)
func (c *Cache) AllocNode(node numa.Node) (unsafe.Pointer, error) {
	return (*percpu.PopByNode)(c.nodeOps).Func()(int(node))
}

// allocNode is AllocNode where no sequence for the node has got an object.
func (c *Cache) allocNode(number int) (unsafe.Pointer, error) {
	node := numa.Node(number)
	if node == numa.NoNode {
		return c.Alloc()
	}
	i := c.Arena().Topology().Index(node)
	if i < 0 {
		return nil, fmt.Errorf("%w: cache %q: node %d", ErrNode, c.name, node)
	}
	if c.closed.Load() { // the stacks may be those of open aliases
		return nil, c.failClosed()
	}
	if err := c.misplaced(i); err != nil {
		return nil, fmt.Errorf("slub: cache %q: %w", c.name, c.failed(err))
	}
	if err := c.injected(1); err != nil {
		return nil, err
	}
	if p := c.popNode(i); p != nil {
		return p, nil
	}
	return c.allocNodeSlow(node, i)
}

// allocNodeSlow is AllocNode of the node with index i where no sequence has got an object.
func (c *Cache) allocNodeSlow(node numa.Node, i int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	var err error
	dropped := false
	if c.sheaves != nil {
		var weight float64
		if p, weight = c.sheaves.TryAllocNodeSample(i); weight > 0 {
			if p = c.allocOneSampled(i, weight); p == nil {
				dropped = true
				p = c.sheaves.TryAllocNodeUnsampled(i)
			}
		}
		c.makeNodeOps()
	}
	switch {
	case p != nil:
	case !c.Arena().Topology().HasMemory(node):
		// The arena has a range for this node, too, but its pages lie on other nodes.
		return nil, fmt.Errorf("slub: cache %q: node %d: %w", c.name, node, c.failed(ErrNoMemory))
	default:
		c.drain(drainMost)
		p, err = c.allocSlab(i, true, dropped)
	}
	if err != nil || !c.instrumented() {
		return p, err
	}
	if p, ok := c.look(p); ok && c.onAlloc(p, 0) {
		return p, nil
	}
	return c.allocNodeSlow(node, i)
}

// nodeOps are the operations of a cache that are for one node: AllocNode, and what Free and FreeRCU
// go on to where the CPU's own stack refuses an object. A cache begins with noNodeOps.
type nodeOps struct {
	byNode percpu.PopByNode // AllocNode; the first word, as which AllocNode reads it
	pop    percpu.Pop       // an object of the CPU's main sheaf, of whatever node; or nil
	ranks  []remote         // by rank of the node for the CPU's, see sheaves.Set.RemoteSlots
	made   bool             // by makeNodeOps
}

var _ = [1]struct{}{}[unsafe.Offsetof(nodeOps{}.byNode)]

// A remote has the sequences on the stacks for objects of one other node. An operation that is
// refused goes on to the next rank's, and from the last to allocNode, freeInGo or freeRCUInGo: one
// sequence more costs about a nanosecond, and a tenth of what the Go code does.
type remote struct {
	byNode        percpu.PopByNode
	free, freeRCU percpu.Free
	pop           percpu.Pop // nil if there is none
}

// noNodeOps returns the nodeOps of a cache that has no sequences for nodes.
func (c *Cache) noNodeOps() *nodeOps {
	ops := new(nodeOps)
	ops.byNode.SetSlowOnly(c.allocNode)
	return ops
}

// maxRemotes bounds how many nodes have a remote, the nearest ones.
const maxRemotes = 7

// makeNodeOps makes the nodeOps of a cache that has allocated by AllocNode, or freed an object of
// another node. Caches that never do have none, nor the per-CPU memory for it. Where there is no
// memory the Go code serves.
func (c *Cache) makeNodeOps() {
	before := c.ops()
	if c.sheaves == nil || c.instrumented() || before.made {
		return
	}
	var slots []percpu.Slots
	for rank := range maxRemotes {
		s, ok := c.sheaves.RemoteSlots(rank)
		if !ok {
			break
		}
		slots = append(slots, percpu.Slots(s))
	}
	ops := &nodeOps{ranks: make([]remote, len(slots)), made: true}
	ops.pop.Init(c.stacks, percpu.Main, c.popNone)
	gates := c.nodeGates()
	alloc, free, freeRCU := percpu.NodeFunc(c.allocNode), percpu.FreeFunc(c.freeInGo), percpu.FreeFunc(c.freeRCUInGo)
	for rank := len(slots) - 1; rank >= 0; rank-- {
		r := &ops.ranks[rank]
		r.free.Init(c.free.ForStacks(slots[rank], percpu.Main), free)
		r.freeRCU.Init(c.free.ForStacks(slots[rank], percpu.RCU), freeRCU)
		r.pop.Init(slots[rank], percpu.Main, c.popNone)
		r.byNode.Init(slots[rank], percpu.Main, gates, c.free.Filter, alloc)
		alloc, free, freeRCU = r.byNode.Func(), r.free.Func(), r.freeRCU.Func()
	}
	ops.byNode.Init(c.stacks, percpu.Main, gates, c.free.Filter, alloc)
	if c.closed.Load() {
		ops.byNode.SetSlowOnly(c.allocNode)
	}
	atomic.CompareAndSwapPointer(&c.nodeOps, unsafe.Pointer(before), unsafe.Pointer(ops))
	if c.closed.Load() { // again: pairs with rejectAllocs, which comes after closed is set
		c.ops().byNode.SetSlowOnly(c.allocNode)
	}
}

// nodeGates returns what AllocNode's sequences know of each node, by its number. Nodes with large
// numbers are left to allocNode.
func (c *Cache) nodeGates() []percpu.NodeGate {
	a := c.Arena()
	last := slices.Max(a.Topology().Nodes())
	gates := make([]percpu.NodeGate, min(last+1, owner.MaxNodes))
	for n := range gates {
		node := numa.Node(n)
		i, own := a.Topology().Index(node), owner.Word(0)
		if i >= 0 && a.Topology().HasMemory(node) {
			own = owner.Of(c.id, i)
		}
		gates[n] = percpu.NewNodeGate(own, a.PlacementWord(max(i, 0)))
	}
	return gates
}

// popNone is the slow path of sequences whose caller has one of its own.
func (c *Cache) popNone() (unsafe.Pointer, error) { return nil, nil }

// popNode takes an object of the node with index i by a sequence, or returns nil. The goroutine may
// migrate before the sequence, and a refill may have brought main an object of another node when
// memory was short: such an object goes to its slab, and the pop doesn't count.
func (c *Cache) popNode(i int) unsafe.Pointer {
	ops := c.ops()
	if !ops.made {
		return nil
	}
	pop, rank := &ops.pop, c.sheaves.Rank(i)
	switch {
	case rank >= len(ops.ranks):
		return nil
	case rank != sheaves.OwnNode:
		pop = &ops.ranks[rank].pop
	}
	p, _ := pop.Func()()
	if p != nil && c.slabs.Arena().NodeIndex(uintptr(p)) != i {
		c.sheaves.Unpop(p, rank != sheaves.OwnNode)
		return nil
	}
	return p
}
