package percpu

import (
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A PopMarked is a Pop of an object with a mark, a byte beside the arena that says whether its user
// holds it. It leaves what it finds to its slow path if that is no object of the cache, since the
// array of the stack was overwritten, if the object is in use, or if it is not all zero as its free
// has left it. A FreeMarked is a Free that claims the object by its mark and clears it, in
// front of its push. Both are func values in place, like Pop and Free. After FillMarked a PopBySize
// and a FreeByOwner do the same.
//
// A pop looks at the object before its commit, while the object is on the stack: nothing has
// happened then that the slow path would have to undo. It marks the object behind the commit, when
// the object is the caller's. Between the two the mark reads MarkFree, as it is right: its user
// does not hold it yet.
//
// A free compares the mark and stores MarkFree in one atomic instruction. So of two frees of one
// object on two CPUs one claims it, and the other one takes its slow path, which reports it. A
// load, a compare and a store would take less, but a thread may be interrupted between them for as
// long as it takes to free the object elsewhere and to allocate it again. The mark is stored in
// front of the bytes that are cleared, and these in front of the commit: the pop of the object
// finds all of them.
type PopMarked struct {
	Pop
	of MarkedObjects
}

// FreeMarked is described with PopMarked. Its slow path gets objects as they are, claimed those
// that are claimed and cleared, and that the stack refuses.
type FreeMarked struct {
	Free
	own     owner.Word // of the objects, without the bits of the node
	marks   ObjectMarks
	claimed FreeFunc
}

// The marks that sequences know. Objects with other marks take the slow path of a free; a pop
// treats them as MarkFree.
const (
	MarkFree  = 0
	MarkInUse = 1
)

// ObjectMarks say where the marks of a cache's objects lie, and what of a free object is zero.
type ObjectMarks struct {
	bias  uintptr // address that the mark of an object at address 0 would have
	shift uintptr // an object has a mark for each 1<<shift bytes, of which its first is used
	clear uintptr // bytes at the start of a free object that are zero, a multiple of 8; may be 0
	_     uintptr // to the size of a served
}

// MarkedObjects are the objects of a cache with marks, and the stacks that a pop takes them from.
type MarkedObjects struct {
	filter Filter
	marks  ObjectMarks
	own    owner.Word // of the objects, without the bits of the node
}

// The sequence of a FreeByOwner finds its ObjectMarks at the same offset as its served.
var _ = [1]struct{}{}[unsafe.Sizeof(ObjectMarks{})-1<<servedShift]

// NewObjectMarks returns the ObjectMarks of objects in a range that starts at base, a multiple of
// 1<<shift, of which marks is the address of the first mark. The first n bytes of a free object are
// zero.
func NewObjectMarks(base, marks uintptr, shift uint8, n uintptr) ObjectMarks {
	return ObjectMarks{bias: marks - base>>shift, shift: uintptr(shift), clear: mem.AlignUp(n, 8)}
}

// Marked returns the objects of a filter that have the owner word own, on any node, and marks.
func (f Filter) Marked(own owner.Word, marks ObjectMarks) MarkedObjects {
	return MarkedObjects{filter: f, marks: marks, own: own & withoutNode}
}

// HasMarked reports whether the engine has sequences for marks. Without them none of the functions
// below may be called.
func HasMarked() bool { return current.initPopMarked != nil }

// Init makes p an operation on the stacks of objects. slow is as for Pop.Init, and marks by itself.
func (p *PopMarked) Init(of MarkedObjects, slow PopFunc) {
	p.slots, p.slow, p.of = of.filter.slots, slow, of
	current.initPopMarked(p)
}

// Init makes f an operation on the stacks of objects.
func (f *FreeMarked) Init(of MarkedObjects, slow, claimed FreeFunc) {
	f.Filter, f.own, f.marks = of.filter, of.own, of.marks
	f.slow, f.claimed = slow, claimed
	current.initFreeMarked(f)
}

// FillMarked is Fill for objects with marks: p takes one of of[i], where i is fine[(n-1)/FineStep]
// up to MaxFine, and coarse[(n-1)/CoarseStep] above.
//
// p may be in use. An operation that has begun by the code before finds no stack, as max stays 0:
// hence the words of their own.
func (p *PopBySize) FillMarked(of []MarkedObjects, fine, coarse []uint8) {
	table := make([]*MarkedObjects, 0, fineStacks+len(coarse))
	for _, i := range slices.Concat(fine[:fineStacks], coarse) {
		table = append(table, &of[i])
	}
	p.marks, p.marked = unsafe.Pointer(unsafe.SliceData(table)), uintptr(len(coarse))*CoarseStep
	current.initPopBySizeMarked(p)
}

// FillMarked is Fill for objects with marks, those of the caches first, first+1 and so on. claimed
// gets objects that are claimed and cleared, and that the stack refuses. f may be in use, as in
// PopBySize.FillMarked.
func (f *FreeByOwner) FillMarked(first uint32, of []MarkedObjects, claimed FreeFunc) {
	filters := make([]Filter, len(of))
	marks := make([]ObjectMarks, len(of))
	for i, o := range of {
		filters[i], marks[i] = o.filter, o.marks
	}
	f.marks = unsafe.Pointer(unsafe.SliceData(marks))
	f.claimed, f.ownPages = claimed, filters[0].pages
	f.fill(first, filters)
	current.initFreeByOwnerMarked(f)
}
