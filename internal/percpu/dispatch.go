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
	first  uint32         // the first owner word that is served, and of how many more, each
	n      uint32         // without the bits of the node
	served unsafe.Pointer // to the first's
	slow   FreeFunc
	stacks uintptr // where CPU 0's stack of owner word 0 would lie
}

// An owner word without the bits of the node is the distance between the stacks of number 0
// and of its own, for these lie side by side. So the address that a Free stores to hangs on
// one load less. That counts: whatever is loaded next, as the words of the stack that a
// Malloc pops from, may wait until the addresses of all earlier stores are known. With the
// stacks' addresses in served a Free and a Malloc of mixed sizes took a fifth longer.
var _ = [1]struct{}{}[cellSize-1<<NodeBits]

// served is what a FreeByOwner keeps of a Filter.
type served struct {
	mask         uintptr
	magic, limit uint64
	_            uint64 // up to 1<<servedShift bytes
}

// servedShift is the binary logarithm of served's size: the assembly scales by it.
const servedShift = 5

var _ = [1]struct{}{}[unsafe.Sizeof(served{})-1<<servedShift]

// NodeBits is how many bits of an owner word are for the node; what is above chooses
// the stacks.
const (
	NodeBits    = 8
	withoutNode = 1<<32 - 1<<NodeBits
)

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
// number first+i, as many as lie side by side; others take the slow path. All filters are
// of one arena. f may be in use; it is called once.
func (f *FreeByOwner) Fill(first uint32, filters []Filter) {
	var table []served
	for i, from := range filters {
		if from.slots != filters[0].slots+uintptr(i)*cellSize {
			break
		}
		table = append(table, served{mask: from.mask, magic: from.magic, limit: from.limit})
	}
	f.base, f.owners = filters[0].base, filters[0].owners
	f.first, f.n = first<<NodeBits, uint32(len(table))<<NodeBits
	f.served = unsafe.Pointer(unsafe.SliceData(table))
	f.stacks = filters[0].slots - uintptr(first)<<NodeBits
	atomic.StoreUintptr(&f.pages, filters[0].pages) // last: it lets pages through
}
