package percpu

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

var errNode = errors.New("self-test: an object of another node was popped, or one of the node was not")

// selfTestNode checks which objects an engine's PopByNode takes.
func selfTestNode(e engine) error {
	return onSlots(1, mem.PageSize, func(s []Slots, array uintptr) error { return testNode(e, s[0], array) })
}

// testNode is selfTestNode with slots, and an array for one stack of them.
func testNode(e engine, slots Slots, array uintptr) error {
	first, second := owner.Of(7, 0), owner.Of(7, 1)
	// The numbers of the nodes are 0 and 2, and the object's page is the second of the range.
	owners := [2]owner.Word{0, first}
	var open, shut uintptr = 0, 1
	gates := []NodeGate{NewNodeGate(first, unsafe.Pointer(&open)), NewNodeGate(0, unsafe.Pointer(&open)),
		NewNodeGate(second, unsafe.Pointer(&open)), NewNodeGate(first, unsafe.Pointer(&shut))}
	asked := 0
	pop := new(PopByNode)
	filter := NewFilter(selfTestBase, 2, unsafe.Pointer(&owners), 64, 64, 0)
	pop.init(slots.base+uintptr(RCU), gates, filter, func(node int) (unsafe.Pointer, error) {
		asked = node
		return nil, errSlow
	})
	e.makePopByNode(pop)
	object := mem.Ptr(selfTestBase + mem.PageSize + 64)
	return onOneCPU(e, func(cpu int) error {
		st := slots.unpublished(cpu, RCU)
		defer st.Install(array, 0, 0, 0)
		st.Install(array, 1, 1, first)
		st.Objects()[0], owners[1] = object, first
		st.Arm(1)
		p, err := pop.Func()(0)
		if st.Arm(Never); p != nil || err != errSlow || st.Size() != 1 {
			return errNode
		}
		for _, c := range []struct {
			node        int
			stack, page owner.Word
			size        int
			gets        bool
		}{
			{0, first, first, 1, true}, {2, second, second, 1, true}, {0, first, first | owner.NonDefaultOrder, 1, true},
			{0, second, second, 1, false}, {2, first, first, 1, false}, {0, first, second, 1, false}, {0, second, first, 1, false},
			{0, first, owner.Of(8, 0), 1, false}, {0, first, first, 0, false}, {1, first, first, 1, false}, {1, 0, 0, 1, false},
			{3, first, first, 1, false}, {4, first, first, 1, false}, {-1, first, first, 1, false},
		} {
			st.Install(array, c.size, 1, c.stack)
			st.Objects()[0] = object
			owners[1], asked = c.page, -2
			p, err := pop.Func()(c.node)
			slow := p == nil && err == errSlow && asked == c.node && st.Size() == c.size
			if c.gets && (p != object || err != nil || st.Size() != 0) || !c.gets && !slow {
				return errNode
			}
		}
		return nil
	})
}
