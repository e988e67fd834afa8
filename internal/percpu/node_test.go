package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/testutil"
)

func TestPopByNode(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		if err := selfTestNode(current); err != nil {
			t.Error(err)
		}
	})
}

// TestPopByNodeHeld: a stack that is held refuses.
func TestPopByNodeHeld(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots, slow := arrays(t, Main, 4), 0
		pop := nodeOps(testBase, func(int) (unsafe.Pointer, error) { slow++; return nil, nil }).pop(slots, filter(slots, Main, testOwn))
		var held []*Stack
		for cpu := range NumCPU() {
			st := slots.LockCPU(cpu, Main)
			st.PushN([]unsafe.Pointer{object(cpu)})
			held = append(held, st)
		}
		if p, _ := pop(); p != nil || slow != 1 {
			t.Errorf("popped %v from a stack that is held, %d slow paths", p, slow)
		}
		for _, st := range held {
			st.Unlock()
		}
		if p, _ := pop(); p == nil || slow != 1 {
			t.Errorf("popped %v from an open stack, %d slow paths", p, slow)
		}
	})
}

// nodeOps pop by node from stacks with the owner word testOwn, which is of one node.
func nodeOps(base uintptr, slow NodeFunc) stressOps {
	ops := plainOps
	ops.base = base
	ops.pop = func(s Slots, f Filter) PopFunc {
		var open uintptr
		p := new(PopByNode)
		p.Init(s, Main, []NodeGate{NewNodeGate(testOwn, unsafe.Pointer(&open))}, f, slow)
		return func() (unsafe.Pointer, error) { return p.Func()(0) }
	}
	return ops
}

// TestStressByNode is TestStress of pops by node.
func TestStressByNode(t *testing.T) {
	none := func(int) (unsafe.Pointer, error) { return nil, nil }
	eachEngine(t, func(t *testing.T) { stress(t, nodeOps(testBase, none), testutil.Stress(t, 1_000_000)) })
}

// TestSelfTestNodeRejects breaks the operation in several ways.
func TestSelfTestNodeRejects(t *testing.T) {
	good := newTrylock()
	if err := selfTestNode(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]func(p *PopByNode){
		"every stack will do":   func(p *PopByNode) { (*NodeGate)(p.nodes).gate = uint64(owner.Of(7, 1)) << ownShift },
		"all nodes are closed":  func(p *PopByNode) { (*NodeGate)(p.nodes).closed = unsafe.Pointer(&p.code) },
		"the node is forgotten": func(p *PopByNode) { slow := p.slow; p.slow = func(int) (unsafe.Pointer, error) { return slow(9) } },
		"nothing is popped":     func(p *PopByNode) { p.n = 0 },
	} {
		e := good
		e.initPopByNode = func(p *PopByNode) { p.code = 1; broken(p); good.makePopByNode(p) }
		if selfTestNode(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}
