package sheaves

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// An addedCPU is a rig of three nodes, on a CPU that was not there at the start. Until its node is
// known it counts as node 0.
type addedCPU struct {
	*rig
	cpu, node int // what the kernel answers
	asked     int
}

// onNode is the node on which the kernel says that the CPU is.
const onNode = 2

func newAddedCPU(t *testing.T) *addedCPU {
	t.Helper()
	a := &addedCPU{cpu: 0, node: onNode}
	of := taking(3)
	of[0] = -1
	nodes := percpu.NewNodes(of, []int{0, 1, 2}, 0)
	nodes.Ask = func() (cpu, node int, err error) {
		a.asked++
		return a.cpu, a.node, nil
	}
	a.rig = newRigOf(t, 3, func(c *Config) { c.NodeOfCPU, c.CPUNodes = nil, (*CPUNodes)(nodes) })
	return a
}

// operations are all that may be the first on a CPU.
var operations = map[string]func(r *rig){
	"TryAlloc":      func(r *rig) { r.got(r.TryAlloc()) },
	"TryAllocNode0": func(r *rig) { r.got(r.TryAllocNode(0)) },
	"TryAllocNode1": func(r *rig) { r.got(r.TryAllocNode(1)) },
	"TryAllocNode2": func(r *rig) { r.got(r.TryAllocNode(2)) },
	"TryAllocNoWait": func(r *rig) {
		for i := range r.barns {
			full := r.sheafWith(0)
			full.size = uint32(copy(full.slots(), r.src.take(i, r.Capacity())))
			r.barns[i].put(full)
		}
		r.got(r.TryAllocNoWait())
	},
	"AllocBulk": func(r *rig) {
		var objs [3]unsafe.Pointer
		r.got(objs[:r.AllocBulk(objs[:])]...)
	},
	"TryFree0":    func(r *rig) { r.freeOne(0, r.TryFree) },
	"TryFree1":    func(r *rig) { r.freeOne(1, r.TryFree) },
	"TryFree2":    func(r *rig) { r.freeOne(2, r.TryFree) },
	"TryFreeRCU0": func(r *rig) { r.freeOne(0, r.tryFreeRCU) },
	"TryFreeRCU1": func(r *rig) { r.freeOne(1, r.tryFreeRCU) },
	"TryFreeRCU2": func(r *rig) { r.freeOne(2, r.tryFreeRCU) },
	"FreeBulk": func(r *rig) {
		r.freeOne(0, func(p unsafe.Pointer, node int) bool { return r.FreeBulk([]unsafe.Pointer{p}, node) == 1 })
	},
	"FreeBulkRemote": func(r *rig) {
		for node := range r.barns {
			r.freeOne(node, func(p unsafe.Pointer, _ int) bool {
				return len(r.FreeBulkRemote([]unsafe.Pointer{p}, true)) == 0
			})
		}
	},
	"Prefill": func(r *rig) { r.Return(r.borrow(2)) },
}

func (r *rig) tryFreeRCU(p unsafe.Pointer, node int) bool { return r.TryFreeRCU(p, node, MayWait) }

// freeOne frees an object of a node by f, or gives it back if f doesn't take it.
func (r *rig) freeOne(node int, f func(p unsafe.Pointer, node int) bool) {
	p := r.takeRemote(node, 1)[0]
	r.gone(p)
	if !f(p, node) {
		r.src.giveBack([]unsafe.Pointer{p})
	}
}

// belongs checks that the stacks of the CPU hold what they should if it is on the given node.
func (a *addedCPU) belongs(node int) {
	a.t.Helper()
	a.all(func(c *cpuSheaves) {
		home := node
		if c.isRemote {
			home = a.others[node][c.rank]
		}
		for _, k := range []percpu.Kind{percpu.Main, percpu.RCU} {
			st := c.slots.LockCPU(0, k)
			if w := st.Own(); w != 0 && w != a.owners[home] {
				a.t.Errorf("stack %d, remote %v: owner word %#x, want %#x", k, c.isRemote, w, a.owners[home])
			}
			for _, p := range st.Objects()[:st.Size()] {
				if nodeOf(p) != home {
					a.t.Errorf("stack %d, remote %v: an object of node %d, want %d", k, c.isRemote, nodeOf(p), home)
				}
			}
			st.Unlock()
		}
	})
}

// TestAddedCPUGetsItsNode: a CPU that was added gets objects of its own node from its first
// operation on, or from the second, whichever that is, and asks for the node once.
func TestAddedCPUGetsItsNode(t *testing.T) {
	for name, first := range operations {
		t.Run(name, func(t *testing.T) {
			a := newAddedCPU(t)
			first(a.rig)
			a.belongs(onNode)
			for range 6 { // more than a sheaf
				p := a.TryAlloc()
				if a.got(p); p == nil || nodeOf(p) != onNode {
					t.Fatalf("got %v, want an object of node %d", p, onNode)
				}
			}
			for _, again := range operations {
				again(a.rig)
			}
			a.belongs(onNode)
			if a.asked != 1 || a.Rank(onNode) != OwnNode {
				t.Errorf("the kernel was asked %d times, rank %d", a.asked, a.Rank(onNode))
			}
		})
	}
}

// TestAddedCPUStaysUnused: as long as the goroutine moves to another CPU before it can ask for the
// node, no stack of the CPU that it comes from is used: what it got would be another node's.
func TestAddedCPUStaysUnused(t *testing.T) {
	if percpu.NumCPU() < 2 {
		t.Log("there is no other CPU")
		return
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			a := newAddedCPU(t)
			a.cpu, a.node = 1, 1
			for range 3 {
				operation(a.rig)
			}
			a.all(func(c *cpuSheaves) {
				for _, k := range []percpu.Kind{percpu.Main, percpu.RCU} {
					if !c.slots.Stack(0, k).Unused() {
						t.Errorf("stack %d, remote %v, is in use", k, c.isRemote)
					}
				}
			})
			a.cpu, a.node = 0, onNode
			a.got(a.TryAlloc())
			a.belongs(onNode)
			if p := a.TryAlloc(); p == nil || nodeOf(p) != onNode {
				t.Errorf("got %v, want an object of node %d", p, onNode)
			} else {
				a.got(p)
			}
		})
	}
}
