package percpu

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// A PopBySize is a Pop on one of many stacks, chosen by a number of bytes, and a
// FreeByOwner a Free on one of many, chosen by the owner word of the object's page. Like
// them they are func values in place, and one sequence each: a malloc costs little more
// than a pop.
type PopBySize struct {
	code  uintptr
	table unsafe.Pointer // the address of CPU 0's stack for each step, fine ones first
	max   uintptr        // bytes; what is larger takes the slow path
	slow  SizeFunc
}

// SizeFunc is the signature of a PopBySize and of its slow path.
type SizeFunc func(n int) (unsafe.Pointer, error)

// FreeByOwner is described with PopBySize.
type FreeByOwner struct {
	code   uintptr
	base   uintptr        // of the arena's range
	pages  uintptr        // of the range
	owners unsafe.Pointer // the owner word of every page
	first  uint32         // owner words from first<<NodeBits on are served
	n      uint32         // so many of them
	served unsafe.Pointer // to the first's
	slow   FreeFunc
}

// served is what a FreeByOwner keeps of a Filter.
type served struct {
	mask         uintptr
	magic, limit uint64
	slots        uintptr
}

// servedShift is the binary logarithm of served's size: the assembly scales by it.
const servedShift = 5

var _ = [1]struct{}{}[unsafe.Sizeof(served{})-1<<servedShift]

// NodeBits is how many bits of an owner word are for the node; what is above chooses
// the stacks.
const NodeBits = 8

// Sizes are looked up in steps of FineStep bytes up to MaxFine, beyond in steps of
// CoarseStep.
const (
	FineStep   = 1 << fineShift
	CoarseStep = 1 << coarseShift
	MaxFine    = 1024

	fineShift, coarseShift = 3, 8
	fineStacks             = MaxFine / FineStep // entries of a table, in front of the coarse
)

// Init makes p an operation that always takes the slow path.
func (p *PopBySize) Init(slow SizeFunc) {
	p.slow = slow
	current.initPopBySize(p)
}

// Fill has p use stacks k of fine, which has MaxFine/FineStep, the [(n-1)/FineStep]-th for
// up to MaxFine bytes, and beyond of coarse[(n-1)/CoarseStep], to its end. p may be in use;
// it is called once.
func (p *PopBySize) Fill(k Kind, fine, coarse []Slots) {
	table := make([]uintptr, 0, fineStacks+len(coarse))
	for _, s := range slices.Concat(fine[:fineStacks], coarse) {
		table = append(table, s.base+uintptr(k))
	}
	p.table = unsafe.Pointer(unsafe.SliceData(table))
	atomic.StoreUintptr(&p.max, uintptr(len(coarse))*CoarseStep) // last: it lets sizes through
}

// Init makes f an operation that always takes the slow path.
func (f *FreeByOwner) Init(slow FreeFunc) {
	f.slow = slow
	current.initFreeByOwner(f)
}

// Fill has f serve the stacks of filters[i] with objects whose page has an owner word of
// number first+i. All filters are of one arena. f may be in use; it is called once.
func (f *FreeByOwner) Fill(first uint32, filters []Filter) {
	table := make([]served, 0, len(filters))
	for _, from := range filters {
		table = append(table, served{from.mask, from.magic, from.limit, from.slots})
	}
	f.base, f.owners = filters[0].base, filters[0].owners
	f.first, f.n, f.served = first, uint32(len(table)), unsafe.Pointer(unsafe.SliceData(table))
	atomic.StoreUintptr(&f.pages, filters[0].pages) // last: it lets pages through
}
