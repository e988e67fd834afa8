package percpu

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// selfTestSlices compares what an engine's operations on slices return, and choose, with what is
// right: a slice and an error have more words than an object, in registers of their own.
func selfTestSlices(e engine) error {
	return testChosen(e, (*chosen).testSlices, (*chosen).testFreedSlices)
}

// testRoom is the room for n bytes in testSlices: another one for each step.
func testRoom(n int) int {
	if n <= MaxFine {
		return 20_000 + (n-1)/FineStep
	}
	return 30_000 + (n-1)/CoarseStep
}

func (c *chosen) testSlices(e engine, cpu int) error {
	fine, coarse := c.steps()
	var rooms []uint16
	for i := range fine {
		rooms = append(rooms, uint16(testRoom(i*FineStep+1)))
	}
	for i := range coarse {
		rooms = append(rooms, uint16(30_000+i))
	}
	size := 0
	slow := unsafe.Slice((*byte)(mem.Ptr(selfTestBase+64)), 9)[:5]
	pop, from := &SliceBySize{sliceSlow: func(n int) ([]byte, error) { size = n; return slow, errSlow }}, new(PopBySize)
	e.initSliceBySize(pop)
	from.Fill(RCU, fine, coarse)
	pop.Fill(from, rooms)
	for n, want := range chosenBySize {
		for _, filled := range []int{2, 0} {
			c.install(cpu, filled)
			size = -2
			s, err := pop.Func()(n)
			switch {
			case want < 0 || filled == 0:
				if err != errSlow || size != n || !isSlice(s, mem.Ptr(selfTestBase+64), 5, 9) {
					return errChoice
				}
			case err != nil || size != -2 || !isSlice(s, mem.Ptr(selfTestBase+uintptr(want)), n, testRoom(n)):
				return errChoice
			}
		}
	}
	return nil
}

func isSlice(s []byte, p unsafe.Pointer, n, room int) bool {
	return unsafe.Pointer(unsafe.SliceData(s)) == p && len(s) == n && cap(s) == room
}

func (c *chosen) testFreedSlices(e engine, cpu int) error {
	var refused unsafe.Pointer
	n, room := 3, 9
	free := &FreeSliceByOwner{sliceSlow: func(s []byte) {
		if p := unsafe.Pointer(unsafe.SliceData(s)); isSlice(s, p, n, room) {
			refused = p
		}
	}}
	e.initFreeSliceByOwner(free)
	err := c.testFrees(cpu, &free.FreeByOwner, func(p unsafe.Pointer) {
		free.Func()(unsafe.Slice((*byte)(p), room)[:n])
	}, &refused)
	if err != nil {
		return err
	}
	// A slice without capacity may begin at an object, and is none.
	c.install(cpu, 0)
	refused, n, room = nil, 0, 0
	p := mem.Ptr(selfTestBase)
	if free.Func()(unsafe.Slice((*byte)(p), 9)[:0:0]); c.stackWith(cpu, p) != -1 || refused != p {
		return errChoice
	}
	return nil
}
