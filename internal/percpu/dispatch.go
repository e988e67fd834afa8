package percpu

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// A PopBySize is a Pop that is chosen by a number of bytes, and a FreeByOwner a Free
// that is chosen by the owner word of an object's page. Like them they are func values
// in place; they end with a jump to what they have chosen, which finds the stack as
// the user's call left it. So a malloc costs little more than a pop.
//
// The jump needs less of the caller's frame than he reserved: a Pop has no arguments,
// where the PopBySize has one, and both return the same.
type PopBySize struct {
	code  uintptr
	table unsafe.Pointer // to the first of the *Pop
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
	first  uint32         // owner words from first<<NodeBits on have a Free
	n      uint32         // so many of them
	cells  unsafe.Pointer // to the first FreeCell
	slow   FreeFunc
}

// A FreeCell is a Free in a row of them, where it is found by computing its address: a
// load less on the way from an object to the stack that it goes to.
type FreeCell struct {
	Free
	_ [cellSize - unsafe.Sizeof(Free{})]byte
}

const cellSize = 128 // bytes; the assembly scales by it

// NodeBits is how many bits of an owner word are for the node; what is above chooses
// the Free.
const NodeBits = 8

// Init makes p an operation that always takes the slow path.
func (p *PopBySize) Init(slow SizeFunc) {
	p.slow = slow
	p.choose()
}

// Sizes are looked up in steps of FineStep bytes up to MaxFine, beyond in steps of
// CoarseStep.
const (
	FineStep, CoarseStep = 8, 256
	MaxFine              = 1024
)

// Fill makes p choose of fine, which has MaxFine/FineStep, the [(n-1)/FineStep]-th for
// up to MaxFine bytes, and beyond coarse[(n-1)/CoarseStep], to its end. p may be in use;
// it is called once.
func (p *PopBySize) Fill(fine, coarse []*Pop) {
	table := slices.Concat(fine[:MaxFine/FineStep], coarse)
	p.table = unsafe.Pointer(unsafe.SliceData(table))
	atomic.StoreUintptr(&p.max, uintptr(len(coarse))*CoarseStep) // last: it lets sizes through
}

// Init makes f an operation that always takes the slow path.
func (f *FreeByOwner) Init(slow FreeFunc) {
	f.slow = slow
	f.choose()
}

// Fill makes f choose cells[i] for objects whose page has an owner word of number
// first+i. owners is what NewFilter takes. f may be in use; it is called once. The table
// is constant from then on.
func (f *FreeByOwner) Fill(base, pages uintptr, owners unsafe.Pointer, first uint32, cells []FreeCell) {
	f.base, f.owners = base, owners
	f.first, f.n, f.cells = first, uint32(len(cells)), unsafe.Pointer(unsafe.SliceData(cells))
	atomic.StoreUintptr(&f.pages, pages) // last: it lets pages through
}

// The assembly's offsets.
var _ = [1]struct{}{}[unsafe.Offsetof(PopBySize{}.table)-8|unsafe.Offsetof(PopBySize{}.max)-16|
	unsafe.Offsetof(PopBySize{}.slow)-24|unsafe.Offsetof(FreeByOwner{}.base)-8|
	unsafe.Offsetof(FreeByOwner{}.pages)-16|unsafe.Offsetof(FreeByOwner{}.owners)-24|
	unsafe.Offsetof(FreeByOwner{}.first)-32|unsafe.Offsetof(FreeByOwner{}.n)-36|
	unsafe.Offsetof(FreeByOwner{}.cells)-40|unsafe.Offsetof(FreeByOwner{}.slow)-48]
