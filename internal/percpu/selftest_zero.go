package percpu

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// zeroSizes are numbers of bytes that selfTestZero has cleared, one for each kind of store that the
// assembly uses. The sum is kept small, since every program clears them when it starts.
var zeroSizes = []uintptr{8, 24, 136, 264, 1032, 2048}

// selfTestZero checks what an engine's operations clear, to the byte. Unlike those of selfTest its
// objects have memory.
func selfTestZero(e engine) error {
	const bytes = 2 * mem.PageSize // the array, and a slab of one page
	return onSlots(1, bytes, func(s []Slots, area uintptr) error {
		return onOneCPU(e, func(cpu int) error {
			for _, n := range zeroSizes {
				if err := testZero(e, s[0], cpu, area, n); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

var errZero = errors.New("self-test: other bytes were cleared than should be")

// testZero has n bytes of the first object of a slab cleared, by a FreeZero and by a FreeByOwner.
func testZero(e engine, slots Slots, cpu int, area, n uintptr) error {
	makes := []zeroFree{makeFreeZero}
	if e.initFreeByOwnerZero != nil {
		makes = append(makes, makeFreeZeroByOwner)
	}
	for _, make := range makes {
		if err := testZeroBy(e, make, slots, cpu, area, n); err != nil {
			return err
		}
	}
	return nil
}

// A zeroFree makes an operation that clears n bytes.
type zeroFree func(e engine, filter Filter, own owner.Word, n uintptr, slow FreeFunc) FreeFunc

func makeFreeZero(e engine, filter Filter, own owner.Word, n uintptr, slow FreeFunc) FreeFunc {
	free := new(FreeZero)
	free.Filter, free.own, free.zero, free.slow = filter, own, newZeroRange(0, n), slow
	e.makeFreeZero(free)
	return free.Func()
}

func makeFreeZeroByOwner(e engine, filter Filter, own owner.Word, n uintptr, slow FreeFunc) FreeFunc {
	free := &FreeByOwner{slow: slow}
	free.fillZero(own.ID(), []Filter{filter}, []uintptr{n})
	e.initFreeByOwnerZero(free)
	return free.Func()
}

// testZeroBy frees and allocates the first object of a slab, of which n bytes are cleared: the
// first ones by the free, and by the allocation those from the second word on.
func testZeroBy(e engine, make zeroFree, slots Slots, cpu int, area, n uintptr) error {
	own, foreign := owner.Of(7, 0), owner.Of(8, 0)
	base := area + mem.PageSize
	slab := mem.Bytes(base, n+24) // the object, and the next one's first bytes
	owners := [1]owner.Word{own}
	slow := 0
	filter := NewFilter(base, 1, unsafe.Pointer(&owners), n+16, mem.PageSize/int(n+16), 0).ForStacks(slots, RCU)
	free := make(e, filter, own, n, func(unsafe.Pointer) { slow++ })
	pop := new(PopZero)
	pop.slots, pop.zero = slots.base+uintptr(RCU), newZeroRange(8, n)
	pop.slow = func() (unsafe.Pointer, error) { slow++; return nil, errSlow }
	e.makePopZero(pop)
	paint := func() {
		for i := range slab {
			slab[i] = 0xaa
		}
	}
	cleared := func(from, to uintptr) bool {
		for i, b := range slab {
			if want := from <= uintptr(i) && uintptr(i) < to; want != (b == 0) {
				return false
			}
		}
		return true
	}
	st := slots.unpublished(cpu, RCU)
	st.Install(area, 0, 1, own)
	defer st.Install(area, 0, 0, 0)
	object := mem.Ptr(base)

	paint()
	// None of these is to be touched.
	for _, w := range []owner.Word{foreign, own | owner.NonDefaultOrder, 0} {
		owners[0] = w
		free(object)
	}
	owners[0] = own
	free(mem.Ptr(base + 8)) // not the start of an object
	if slow != 4 || !cleared(0, 0) {
		return errZero
	}
	owners[0] = own + 1 // another node's: cleared and refused
	if free(object); slow != 5 || !cleared(0, n) {
		return errZero
	}
	owners[0] = own
	paint()
	if free(object); slow != 5 || !cleared(0, n) {
		return errZero
	}
	paint()
	if p, err := pop.Func()(); p != object || err != nil || !cleared(8, n+8) {
		return errZero
	}
	paint()
	if p, err := pop.Func()(); p != nil || err != errSlow || slow != 6 || !cleared(0, 0) {
		return errZero
	}
	return nil
}
