package percpu

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
)

// A PopBySize is a Pop on one of many stacks, which it chooses by a number of bytes. A FreeByOwner
// is a Free on one of many stacks, which it chooses by the owner word of the object's page. Like
// Pop and Free they are func values in place, and one sequence each: a malloc costs little more
// than a pop.
type PopBySize struct {
	code  uintptr
	table unsafe.Pointer // address of CPU 0's stack for each step, the fine steps first
	max   uintptr        // largest number of bytes; more takes the slow path
	slow  SizeFunc

	// In place of table and max after FillMarked.
	marks  unsafe.Pointer // address of MarkedObjects for each step
	marked uintptr
}

// SizeFunc is the signature of a PopBySize and of its slow path.
type SizeFunc func(n int) (unsafe.Pointer, error)

// FreeByOwner is described with PopBySize.
type FreeByOwner struct {
	code   uintptr
	base   uintptr        // address of the arena's range
	pages  uintptr        // pages of the range
	owners unsafe.Pointer // owner word of every page
	first  owner.Word     // first owner word that is served, without the bits of the node
	n      uint32         // number of served owner words, << NodeBits
	served unsafe.Pointer // array of served, beginning with that of first
	slow   FreeFunc
	stacks uintptr // address that CPU 0's stack of owner word 0 would have

	// After FillZero or FillMarked.
	ownPages uintptr        // in place of pages
	marks    unsafe.Pointer // array of ObjectMarks, beginning with that of first
	claimed  FreeFunc       // what gets an object that is claimed, and that the stack refuses
}

// The stacks of adjacent numbers are adjacent. So an owner word without the bits of the node is
// the distance between the stack of number 0 and its own. This way the address that a Free stores
// to depends on one load less than with the stacks' addresses in served. That matters: the next
// loads, such as the words of the stack that a Malloc pops from, may wait until the addresses of
// all earlier stores are known. With the addresses in served a Free and a Malloc of mixed sizes
// took a fifth longer.
var _ = [1]struct{}{}[cellSize-1<<NodeBits]

// served is the part of a Filter that a FreeByOwner keeps for each owner word.
type served struct {
	mask         uintptr
	magic, limit uint64
	clear        uintptr // after FillZero: bytes to clear, a multiple of 8 and not 0
}

// servedShift is the binary logarithm of the size of served. The assembly scales by it.
const servedShift = 5

var _ = [1]struct{}{}[unsafe.Sizeof(served{})-1<<servedShift]

// The bits of an owner word above the node choose the stacks. The assembly has these names.
const (
	NodeBits    = owner.NodeBits
	withoutNode = 1<<32 - 1<<NodeBits

	withoutFlags = 1<<32 - 1 - owner.NonDefaultOrder
)

var _ = [1]struct{}{}[withoutFlags&owner.NonDefaultOrder]

// Sizes are looked up in steps of FineStep bytes up to MaxFine, and in steps of CoarseStep above.
const (
	FineStep   = 1 << fineShift
	CoarseStep = 1 << coarseShift
	MaxFine    = 1024

	fineShift, coarseShift = 3, 6
	fineStacks             = MaxFine / FineStep // entries of a table in front of the coarse ones
)

// Init makes p an operation that always takes the slow path.
func (p *PopBySize) Init(slow SizeFunc) {
	p.slow = slow
	current.initPopBySize(p)
}

// Fill gives p its stacks: for n bytes it uses stack k of fine[(n-1)/FineStep] up to MaxFine, and
// of coarse[(n-1)/CoarseStep] above, as far as coarse reaches. fine has MaxFine/FineStep elements.
// p may be in use; Fill is called once.
func (p *PopBySize) Fill(k Kind, fine, coarse []Slots) {
	table := make([]uintptr, 0, fineStacks+len(coarse))
	for _, s := range slices.Concat(fine[:fineStacks], coarse) {
		table = append(table, s.base+uintptr(k))
	}
	p.table = unsafe.Pointer(unsafe.SliceData(table))
	atomic.StoreUintptr(&p.max, uintptr(len(coarse))*CoarseStep) // last: makes the rest take effect
}

// Suspend makes p, which may be in use and has been filled, take its slow path until resume is
// called. An operation that has loaded max or marked before goes on with the stack that it has
// found. The tables stay as they are: an operation may load their addresses more than once. One
// caller at a time.
func (p *PopBySize) Suspend() (resume func()) {
	return suspend(&p.max, &p.marked)
}

// suspend makes two words 0, and returns what makes them what they were.
func suspend(a, b *uintptr) (resume func()) {
	wasA, wasB := atomic.SwapUintptr(a, 0), atomic.SwapUintptr(b, 0)
	return func() {
		atomic.StoreUintptr(a, wasA)
		atomic.StoreUintptr(b, wasB)
	}
}

// Init makes f an operation that always takes the slow path.
func (f *FreeByOwner) Init(slow FreeFunc) {
	f.slow = slow
	current.initFreeByOwner(f)
}

// Fill gives f its stacks: objects whose page has an owner word with number first+i go to the
// stacks of filters[i]. That holds for the filters whose slots are adjacent to those of
// filters[0]; objects of the others take the slow path. All filters are of one arena. f may be in
// use; Fill is called once.
func (f *FreeByOwner) Fill(first uint32, filters []Filter) {
	f.fill(first, filters)
	atomic.StoreUintptr(&f.pages, filters[0].pages) // last: makes the rest take effect
}

// Suspend makes f take its slow path until resume is called; see PopBySize.Suspend.
func (f *FreeByOwner) Suspend() (resume func()) {
	return suspend(&f.pages, &f.ownPages)
}

// fill is Fill without effect. It returns what f has for each owner word.
func (f *FreeByOwner) fill(first uint32, filters []Filter) (table []served) {
	for i, from := range filters {
		if from.slots != filters[0].slots+uintptr(i)*cellSize {
			break
		}
		table = append(table, served{mask: from.mask, magic: from.magic, limit: from.limit})
	}
	f.base, f.owners = filters[0].base, filters[0].owners
	f.first, f.n = owner.Of(first, 0), uint32(len(table))<<NodeBits
	f.served = unsafe.Pointer(unsafe.SliceData(table))
	f.stacks = filters[0].slots - uintptr(first)<<NodeBits
	return table
}
