package percpu

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Func returns p as a func value, as Pop's does.
func (p *PopBySize) Func() SizeFunc { return *(*SizeFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, as Free's does.
func (f *FreeByOwner) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// dispatching says that the assembly finds arguments where it looks for them. True until
// errDispatch is known, whose test uses it.
var dispatching = true

var errDispatch = func() error {
	err := testDispatch()
	dispatching = err == nil
	return err
}()

func (p *PopBySize) choose() {
	if p.code = codes().bySize; !dispatching {
		p.code = codes().passBySize
	}
}

func (f *FreeByOwner) choose() {
	if f.code = codes().byOwner; !dispatching {
		f.code = codes().passByOwner
	}
}

var errChoice = errors.New("self-test: another operation was chosen")

// testDispatch compares what is chosen with what should be. It guards against a Go
// whose register ABI changed.
func testDispatch() (err error) {
	defer func() {
		if recover() != nil {
			err = errChoice
		}
	}()
	var popped, freed int
	pops, frees := make([]*Pop, 4), make([]FreeCell, 2)
	for i := range pops {
		pops[i] = new(Pop)
		pops[i].Pass(func() (unsafe.Pointer, error) { popped = i + 1; return nil, errChoice })
	}
	for i := range frees {
		frees[i].slow = func(unsafe.Pointer) { freed = i + 1 }
		frees[i].pass()
	}
	owners := []uint32{7 << NodeBits, 8<<NodeBits | 1, 9 << NodeBits, 6 << NodeBits}
	pop, free := new(PopBySize), new(FreeByOwner)
	size, refused := 0, unsafe.Pointer(nil)
	pop.Init(func(n int) (unsafe.Pointer, error) { size = n; return nil, errChoice })
	fine, coarse := make([]*Pop, MaxFine/FineStep), make([]*Pop, MaxFine/CoarseStep+2)
	fine[0], fine[1], fine[len(fine)-1] = pops[0], pops[1], pops[1]
	coarse[len(coarse)-2], coarse[len(coarse)-1] = pops[2], pops[3]
	pop.Fill(fine, coarse)
	// Addresses of no Go object, which are not touched.
	const base = 0x7000_0000_0000
	free.Init(func(p unsafe.Pointer) { refused = p })
	free.Fill(base, 4, unsafe.Pointer(&owners[0]), 7, frees)
	for n, want := range map[int]int{1: 1, 8: 1, 9: 2, 16: 2, 1024: 2, 1025: 3, 1280: 3, 1281: 4, 1536: 4, 1537: 0, 0: 0, -1: 0} {
		popped, size = 0, -2
		if _, err := pop.Func()(n); err != errChoice || popped != want || want == 0 && size != n {
			return errChoice
		}
	}
	for page, want := range map[uintptr]int{0: 1, 1: 2, 2: 0, 3: 0, 4: 0, 1 << 30: 0} {
		freed, refused = 0, nil
		p := mem.Ptr(base + page<<12)
		if free.Func()(p); freed != want || want == 0 && refused != p {
			return errChoice
		}
	}
	return nil
}
