package percpu

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// selfTestBase is where the objects of the tests are said to lie. They are not touched.
const selfTestBase = 0x7000_0000_0000

// selfTest runs an engine's operations on a slot of its own and compares every
// result, argument and count. It guards against a Go whose register ABI changed
// and against a thread area that is not where libc said.
func selfTest(e engine) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("self-test: %v", r)
		}
	}()
	slots, err := NewSlots()
	if err != nil {
		return err
	}
	defer slots.abandon()
	// Off-heap like all that a stack points to: a Go array would lie on this
	// goroutine's stack, which may move.
	array, err := Reserve(mem.PageSize)
	if err != nil {
		return err
	}
	defer Unreserve(array, mem.PageSize)

	const own, slot = 7, 1344 // three objects to a page, and room that is none
	owners := [1]uint32{own}
	for cpu := range NumCPU() {
		slots.Stack(cpu, RCU).Install(array, 0, 2, own)
	}
	f := NewFilter(selfTestBase, 1, unsafe.Pointer(&owners), slot, 3, 0).Serve(slots, RCU)
	object := func(i uintptr) unsafe.Pointer { return mem.Ptr(selfTestBase + i*slot) }
	errEmpty := errors.New("empty")
	var asked int
	var refused []unsafe.Pointer
	popped := &Pop{slots: f.slots, slow: func() (unsafe.Pointer, error) { asked++; return nil, errEmpty }}
	freed := &Free{Filter: f, slow: func(p unsafe.Pointer) { refused = append(refused, p) }}
	e.initPop(popped)
	e.initFree(freed)
	pop, free := popped.Func(), freed.Func()
	// Alone on the slots, so that one array can stand on every CPU's stack and a
	// migration between two operations is the only thing that can disturb.
	for range 16 {
		cpu := e.cpu()
		refused, asked = nil, 0
		p0, err0 := pop()
		owners[0] = own + 1
		free(object(0))
		owners[0] = own
		free(mem.Ptr(selfTestBase + 1))
		free(object(3))
		free(object(0))
		free(object(1))
		free(object(2))
		p1, err1 := pop()
		p2, err2 := pop()
		if e.cpu() != cpu {
			for cpu := range NumCPU() {
				slots.Stack(cpu, RCU).SetSize(0)
			}
			continue
		}
		want := []unsafe.Pointer{object(0), mem.Ptr(selfTestBase + 1), object(3), object(2)}
		switch {
		case p0 != nil || err0 != errEmpty || asked != 1:
			return errors.New("self-test: an empty stack didn't ask the slow path")
		case !slices.Equal(refused, want):
			return errors.New("self-test: free took a stranger or more than fits")
		case p1 != object(1) || p2 != object(0) || err1 != nil || err2 != nil:
			return errors.New("self-test: pop returned something else than was freed")
		}
		if r := newReaders(e); !selfTestReaders(r) {
			return errors.New("self-test: sections are miscounted")
		}
		return selfTestLock(e, slots, f.slots)
	}
	return errors.New("self-test: no quiet moment on one CPU")
}

// selfTestLock checks that a held stack refuses both operations and another lock.
func selfTestLock(e engine, slots Slots, base uintptr) error {
	cpu := e.lock(base)
	if cpu < 0 {
		return errors.New("self-test: a free stack could not be locked")
	}
	st := slots.Stack(cpu, RCU)
	held := st.held() && !st.tryLockLocal()
	e.fence(cpu)
	st.Unlock()
	if !held || st.held() {
		return errors.New("self-test: the gate doesn't show its holder")
	}
	return nil
}

// chosen is what an operation that chooses is tested with: stacks for two objects each,
// with arrays of their own.
type chosen struct {
	stacks [4]Slots
	own    [4]uint32
	arrays uintptr
}

// install puts n objects on all stacks: the upper one, at the stack's number behind
// selfTestBase, tells which stack it is from.
func (c *chosen) install(n int) {
	for i, s := range c.stacks {
		for cpu := range NumCPU() {
			st := s.Stack(cpu, RCU)
			st.Install(c.arrays+uintptr(i)*16, n, 2, c.own[i])
			st.Objects()[0], st.Objects()[1] = nil, mem.Ptr(selfTestBase+uintptr(i))
		}
	}
}

// holder returns which stack holds p alone, or -1.
func (c *chosen) holder(p unsafe.Pointer) int {
	for i, s := range c.stacks {
		for cpu := range NumCPU() {
			if st := s.Stack(cpu, RCU); st.Size() == 1 && st.Objects()[0] == p {
				return i
			}
		}
	}
	return -1
}

var (
	errChoice = errors.New("self-test: another stack was chosen")
	errSlow   = errors.New("slow path")
)

// selfTestChoice compares what an engine's operations choose with what they should, as
// selfTest does with what they do.
func selfTestChoice(e engine) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("self-test: %v", r)
		}
	}()
	var c chosen
	row, err := NewSlotsRow(len(c.stacks))
	if err != nil {
		return err
	}
	for i, s := range row {
		c.stacks[i] = s
		defer s.abandon()
	}
	if c.arrays, err = Reserve(mem.PageSize); err != nil {
		return err
	}
	defer Unreserve(c.arrays, mem.PageSize)
	if err := c.testSizes(e); err != nil {
		return err
	}
	return c.testOwners(e)
}

func (c *chosen) testSizes(e engine) error {
	size := 0
	pop := &PopBySize{slow: func(n int) (unsafe.Pointer, error) { size = n; return nil, errSlow }}
	e.initPopBySize(pop)
	fine, coarse := make([]Slots, MaxFine/FineStep), make([]Slots, MaxFine/CoarseStep+2)
	for i := range fine {
		fine[i] = c.stacks[min(i, 1)]
	}
	for i := range coarse {
		coarse[i] = c.stacks[max(i, MaxFine/CoarseStep)-MaxFine/CoarseStep+2]
	}
	pop.Fill(RCU, fine, coarse)
	for n, want := range map[int]int{1: 0, 8: 0, 9: 1, 16: 1, 1024: 1, 1025: 2, 1280: 2, 1281: 3, 1536: 3, 1537: -1, 0: -1, -1: -1} {
		c.install(2)
		size = -2
		p, err := pop.Func()(n)
		slow := p == nil && err == errSlow && size == n
		if want < 0 && !slow || want >= 0 && (err != nil || p != mem.Ptr(selfTestBase+uintptr(want))) {
			return errChoice
		}
	}
	c.install(0)
	if p, err := pop.Func()(8); p != nil || err != errSlow || size != 8 {
		return errChoice
	}
	return nil
}

func (c *chosen) testOwners(e engine) error {
	const first, slot, perSlab = 7, 1344, 3
	owners := [4]uint32{first << NodeBits, (first+1)<<NodeBits | 1, (first + 2) << NodeBits, (first - 1) << NodeBits}
	c.own = [4]uint32{owners[0], owners[1]}
	var refused unsafe.Pointer
	free := &FreeByOwner{slow: func(p unsafe.Pointer) { refused = p }}
	e.initFreeByOwner(free)
	filters := make([]Filter, 2)
	for i := range filters {
		filters[i] = NewFilter(selfTestBase, uintptr(len(owners)), unsafe.Pointer(&owners[0]), slot, perSlab, 0).Serve(c.stacks[i], RCU)
	}
	free.Fill(first, filters)
	for off, want := range map[uintptr]int{0: 0, slot: 0, 1: -1, perSlab * slot: -1, 1<<12 | 2*slot: 1,
		2 << 12: -1, 3 << 12: -1, 4 << 12: -1, 1 << 42: -1} {
		c.install(0)
		refused = nil
		p := mem.Ptr(selfTestBase + off)
		free.Func()(p)
		if c.holder(p) != want || (refused == p) != (want < 0) {
			return errChoice
		}
	}
	c.install(2) // full
	refused = nil
	if free.Func()(mem.Ptr(selfTestBase)); refused != mem.Ptr(selfTestBase) {
		return errChoice
	}
	return nil
}
