package percpu

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A PopByNode takes the top object of the calling CPU's stack if the stack is one for objects of a
// given node, and the object lies there. Like Pop it is a func value in place, and one sequence.
//
// The node is an argument. A table says which gate a stack for its objects has while it is open,
// and the sequence compares all of the gate with it: the low half is 0 while the stack is not held,
// the high half is the stack's owner word. So the comparison that a pop makes anyway tells the node
// as well, on whatever CPU the sequence runs. A refill may have brought the stack an object of
// another node, when memory was short. So the sequence also loads the owner word of the object's
// page, in front of its commit. The page can't change its owner meanwhile: a sequence that runs to
// its commit has found the object on the stack, where no other goroutine could take it. An object
// that is refused stays on the stack, and is not counted.
type PopByNode struct {
	code   uintptr
	slots  uintptr        // address of CPU 0's stack
	nodes  unsafe.Pointer // array of NodeGate, by node
	n      uintptr        // its length; other nodes take the slow path
	base   uintptr        // address of the arena's range
	owners unsafe.Pointer // owner word of every page
	slow   NodeFunc
}

// NodeFunc is the signature of a PopByNode and of its slow path.
type NodeFunc func(node int) (unsafe.Pointer, error)

// A NodeGate is what a PopByNode knows of a node.
type NodeGate struct {
	gate   uint64         // of an open stack for its objects
	closed unsafe.Pointer // word that is not 0 while no object of the node may be had
}

// nodeGateShift is the binary logarithm of the size of a NodeGate. The assembly scales by it.
const nodeGateShift = 4

var _ = [1]struct{}{}[unsafe.Sizeof(NodeGate{})-1<<nodeGateShift]

// NewNodeGate returns the NodeGate of a node whose stacks have the owner word own. All operations
// take the slow path while the word at closed is not 0, and always if own is 0.
func NewNodeGate(own owner.Word, closed unsafe.Pointer) NodeGate {
	g := NodeGate{gate: uint64(own) << ownShift, closed: closed}
	if own == 0 {
		g.gate = pushesHeld // a gate has this bit only together with popsHeld
	}
	return g
}

// Init makes p an operation on stacks k of s, for the nodes with numbers below the length of nodes.
// filter is one of the objects. slow is as for Pop.Init.
func (p *PopByNode) Init(s Slots, k Kind, nodes []NodeGate, filter Filter, slow NodeFunc) {
	p.init(s.base+uintptr(k), nodes, filter, slow)
	current.makePopByNode(p)
}

func (p *PopByNode) init(slots uintptr, nodes []NodeGate, filter Filter, slow NodeFunc) {
	p.slots, p.nodes, p.n = slots, unsafe.Pointer(unsafe.SliceData(nodes)), uintptr(len(nodes))
	p.base, p.owners, p.slow = filter.base, filter.owners, slow
}

// SetSlowOnly makes p an operation that always takes the slow path.
func (p *PopByNode) SetSlowOnly(slow NodeFunc) {
	p.slow = slow
	p.setSlowCode()
}

// makePopByNode gives p its code. Where the engine has no sequence for it, p takes the stack's
// lock, as the trylock engine's operations do.
func (e *engine) makePopByNode(p *PopByNode) {
	if e.initPopByNode != nil {
		e.initPopByNode(p)
		return
	}
	slow, on, lock := p.slow, e.cpu, e.lockNoWait
	p.SetSlowOnly(func(node int) (unsafe.Pointer, error) {
		procPin()
		obj := p.popLocked(on(), lock, node)
		procUnpin()
		runtime.KeepAlive(p) // see recycle.go
		if obj == nil {
			return slow(node)
		}
		return obj, nil
	})
}

// popLocked is PopByNode in Go, or nil. cpu is a hint, which spares stacks without an object.
func (p *PopByNode) popLocked(cpu int, lock func(slots uintptr) int, node int) (obj unsafe.Pointer) {
	if uintptr(node) >= p.n || cpu < 0 || cpu >= NumCPU() {
		return nil
	}
	wanted := (*NodeGate)(unsafe.Add(p.nodes, node<<nodeGateShift))
	if atomic.LoadUintptr((*uintptr)(wanted.closed)) != 0 {
		return nil
	}
	if !mem.At[Stack](p.slots + uintptr(cpu)<<rowShift).mayPop() {
		return nil
	}
	if cpu = lock(p.slots); cpu < 0 {
		return nil
	}
	setMark(p.slots&^(cellSize-1), cpu)
	st := mem.At[Stack](p.slots + uintptr(cpu)<<rowShift)
	if n := st.Size(); n > 0 && !st.Due() && uint64(st.Own())<<ownShift == wanted.gate {
		page := (uintptr(st.Objects()[n-1]) - p.base) >> pageShift
		if (*(*owner.Word)(unsafe.Add(p.owners, page*4))).WithoutFlags() == st.Own() {
			obj = st.Pop()
		}
	}
	st.Unlock()
	return obj
}
