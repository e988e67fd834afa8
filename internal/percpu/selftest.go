package percpu

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// selfTestBase is the address of the tests' objects. Their memory is not touched.
const selfTestBase = 0x7000_0000_0000

// selfTest runs an engine's operations on a slot of its own and compares every result, argument
// and count. It guards against a Go version with another register ABI, and against a thread area
// that is not where libc said.
func selfTest(e engine) error {
	return onSlots(1, mem.PageSize, func(s []Slots, array uintptr) error { return testEngine(e, s[0], array) })
}

// onSlots runs a test with slots of its own, which lie side by side, and with memory of a number of
// bytes for the arrays of stacks and for objects. Like everything that a stack points to it is
// off-heap: a Go array would lie on this goroutine's stack, which may move. A panic of the test is
// its error.
func onSlots(n int, bytes uintptr, test func(s []Slots, area uintptr) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("self-test: %v", r)
		}
	}()
	slots, err := NewAdjacentSlots(n)
	if err != nil {
		return err
	}
	for _, s := range slots {
		defer s.freeUnpublished()
	}
	area, err := Reserve(bytes)
	if err != nil {
		return err
	}
	defer Unreserve(area, bytes)
	return test(slots, area)
}

// testEngine is selfTest with slots, and an array for one stack of them.
func testEngine(e engine, slots Slots, array uintptr) error {
	const own, slot = 7, 1344 // three objects to a page, and bytes at its end that fit none
	owners := [1]owner.Word{own}
	f := NewFilter(selfTestBase, 1, unsafe.Pointer(&owners), slot, 3, 0).ForStacks(slots, RCU)
	object := func(i uintptr) unsafe.Pointer { return mem.Ptr(selfTestBase + i*slot) }
	errEmpty := errors.New("empty")
	var asked int
	var refused []unsafe.Pointer
	popped := &Pop{slots: f.slots, slow: func() (unsafe.Pointer, error) { asked++; return nil, errEmpty }}
	freed := &Free{Filter: f, slow: func(p unsafe.Pointer) { refused = append(refused, p) }}
	e.initPop(popped)
	e.initFree(freed)
	pop, free := popped.Func(), freed.Func()
	err := onOneCPU(e, func(cpu int) error {
		st := slots.unpublished(cpu, RCU)
		st.Install(array, 0, 2, own)
		defer st.Install(array, 0, 0, 0)
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
		want := []unsafe.Pointer{object(0), mem.Ptr(selfTestBase + 1), object(3), object(2)}
		missed := asked
		st.Install(array, 2, 2, own)
		st.Arm(2)
		p3, err3 := pop()
		p4, err4 := pop()
		switch {
		case p3 != object(1) || err3 != nil || p4 != nil || err4 != errEmpty || asked != missed+1 || st.Size() != 1:
			return errors.New("self-test: pop doesn't tell when a stack is due")
		case p0 != nil || err0 != errEmpty || missed != 1:
			return errors.New("self-test: an empty stack didn't ask the slow path")
		case !slices.Equal(refused, want):
			return errors.New("self-test: free took a foreign object, or more objects than fit")
		case p1 != object(1) || p2 != object(0) || err1 != nil || err2 != nil:
			return errors.New("self-test: pop returned another object than was freed")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r := newReaders(e); !selfTestReaders(r) {
		return errors.New("self-test: sections are miscounted")
	}
	return selfTestLock(e, slots, f.slots)
}

// onOneCPU runs a test with the number of the CPU that it runs on. Since the thread may migrate
// meanwhile, the test has several attempts, and has failed if all of them fail. The error is that
// of the last one.
func onOneCPU(e engine, test func(cpu int) error) (err error) {
	const attempts = 32
	err = errMigrates
	for range attempts {
		cpu := e.cpu()
		if cpu < 0 || cpu >= NumCPU() {
			err = fmt.Errorf("self-test: on CPU %d of %d", cpu, NumCPU())
			continue
		}
		failed := test(cpu)
		if failed == nil {
			return nil
		}
		if e.cpu() == cpu {
			err = failed
		}
	}
	return err
}

// selfTestLock checks that a held stack refuses both operations and another lock.
func selfTestLock(e engine, slots Slots, base uintptr) error {
	cpu := e.lock(base)
	if cpu < 0 {
		return errors.New("self-test: an open stack could not be locked")
	}
	st := slots.unpublished(cpu, RCU)
	held := st.held() && !st.tryLockLocal()
	e.fence(cpu)
	st.Unlock()
	if !held || st.held() {
		return errors.New("self-test: the gate doesn't show its holder")
	}
	return nil
}

// chosen holds stacks to test operations that choose one: each has room for two objects, and an
// array of its own.
type chosen struct {
	stacks [4]Slots
	own    [4]owner.Word
	arrays uintptr
}

// install puts n objects on all stacks of a CPU. The upper one is selfTestBase plus the number of
// its stack.
func (c *chosen) install(cpu, n int) {
	for i, s := range c.stacks {
		st := s.unpublished(cpu, RCU)
		st.Install(c.arrays+uintptr(i)*16, n, 2, c.own[i])
		st.Objects()[0], st.Objects()[1] = nil, mem.Ptr(selfTestBase+uintptr(i))
	}
}

// stackWith returns the number of the CPU's stack that holds p alone, or -1.
func (c *chosen) stackWith(cpu int, p unsafe.Pointer) int {
	for i, s := range c.stacks {
		if st := s.Stack(cpu, RCU); st.Size() == 1 && st.Objects()[0] == p {
			return i
		}
	}
	return -1
}

var (
	errChoice   = errors.New("self-test: another stack was chosen")
	errSlow     = errors.New("slow path")
	errMigrates = errors.New("self-test: the thread migrated in every attempt")
)

// selfTestChoice compares the stacks that an engine's operations choose with the right ones.
func selfTestChoice(e engine) error {
	return testChosen(e, (*chosen).testSizes, (*chosen).testOwners)
}

// testChosen runs tests, which get the CPU that they run on, with stacks of their own.
func testChosen(e engine, tests ...func(c *chosen, e engine, cpu int) error) error {
	var c chosen
	return onSlots(len(c.stacks), mem.PageSize, func(s []Slots, arrays uintptr) error {
		copy(c.stacks[:], s)
		c.arrays = arrays
		for _, test := range tests {
			if err := onOneCPU(e, func(cpu int) error { return test(&c, e, cpu) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// The ends of the first two coarse steps that are served.
const firstCoarse, secondCoarse = MaxFine + CoarseStep, MaxFine + 2*CoarseStep

// chosenBySize is the number of the stack for a number of bytes, with the stacks of steps; -1 for
// the slow path.
var chosenBySize = map[int]int{1: 0, FineStep: 0, FineStep + 1: 1, MaxFine: 1, MaxFine + 1: 2, firstCoarse: 2,
	firstCoarse + 1: 3, secondCoarse: 3, secondCoarse + 1: -1, 0: -1, -1: -1}

// steps are the stacks for the steps of a PopBySize.
func (c *chosen) steps() (fine, coarse []Slots) {
	fine, coarse = make([]Slots, MaxFine/FineStep), make([]Slots, MaxFine/CoarseStep+2)
	for i := range fine {
		fine[i] = c.stacks[min(i, 1)]
	}
	for i := range coarse {
		coarse[i] = c.stacks[max(i, MaxFine/CoarseStep)-MaxFine/CoarseStep+2]
	}
	return fine, coarse
}

func (c *chosen) testSizes(e engine, cpu int) error {
	size := 0
	pop := &PopBySize{slow: func(n int) (unsafe.Pointer, error) { size = n; return nil, errSlow }}
	e.initPopBySize(pop)
	fine, coarse := c.steps()
	pop.Fill(RCU, fine, coarse)
	for n, want := range chosenBySize {
		c.install(cpu, 2)
		size = -2
		p, err := pop.Func()(n)
		slow := p == nil && err == errSlow && size == n
		if want < 0 && !slow || want >= 0 && (err != nil || p != mem.Ptr(selfTestBase+uintptr(want))) {
			return errChoice
		}
	}
	c.install(cpu, 0)
	if p, err := pop.Func()(8); p != nil || err != errSlow || size != 8 {
		return errChoice
	}
	return nil
}

func (c *chosen) testOwners(e engine, cpu int) error {
	var refused unsafe.Pointer
	free := &FreeByOwner{slow: func(p unsafe.Pointer) { refused = p }}
	e.initFreeByOwner(free)
	return c.testFrees(cpu, free, free.Func(), &refused)
}

// testFrees fills f and checks which objects free, which is f's operation, puts on which stack.
// refused is the last object that its slow path got.
func (c *chosen) testFrees(cpu int, f *FreeByOwner, free FreeFunc, refused *unsafe.Pointer) error {
	const first, slot, perSlab = 7, 1344, 3
	owners := [4]owner.Word{owner.Of(first, 0), owner.Of(first+1, 1), owner.Of(first+2, 0), owner.Of(first-1, 0)}
	c.own = [4]owner.Word{owners[0], owners[1]}
	filters := make([]Filter, 2)
	for i := range filters {
		filters[i] = NewFilter(selfTestBase, uintptr(len(owners)), unsafe.Pointer(&owners[0]), slot, perSlab, 0).ForStacks(c.stacks[i], RCU)
	}
	f.Fill(first, filters)
	for off, want := range map[uintptr]int{0: 0, slot: 0, 1: -1, perSlab * slot: -1, 1<<12 | 2*slot: 1,
		2 << 12: -1, 3 << 12: -1, 4 << 12: -1, 1 << 42: -1} {
		c.install(cpu, 0)
		*refused = nil
		p := mem.Ptr(selfTestBase + off)
		free(p)
		if c.stackWith(cpu, p) != want || (*refused == p) != (want < 0) {
			return errChoice
		}
	}
	c.install(cpu, 2) // full
	*refused = nil
	if free(mem.Ptr(selfTestBase)); *refused != mem.Ptr(selfTestBase) {
		return errChoice
	}
	return nil
}
