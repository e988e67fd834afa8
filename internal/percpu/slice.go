package percpu

import (
	"sync/atomic"
	"unsafe"
)

// A SliceBySize is a PopBySize that returns the object as a slice of the bytes asked for, whose
// capacity is the room that the object has. A FreeSliceByOwner is a FreeByOwner of the object that
// a slice begins at. Both are func values in place, and one sequence each: a slice costs its user
// a few moves between registers more than the object alone, and no call around the sequence.
//
// The room is looked up by the number of bytes, beside the stack, and not on the stack's line: so
// its load depends on nothing that another operation stores.
type SliceBySize struct {
	PopBySize                // its slow path is not used
	rooms     unsafe.Pointer // array of uint16: the room in bytes, by step, as PopBySize.table
	sliceSlow SliceFunc
}

// FreeSliceByOwner is described with SliceBySize. A slice without capacity takes the slow path.
type FreeSliceByOwner struct {
	FreeByOwner // its slow path is not used
	sliceSlow   FreeSliceFunc
}

// SliceFunc is the signature of a SliceBySize and of its slow path.
type SliceFunc func(n int) ([]byte, error)

// FreeSliceFunc is the signature of a FreeSliceByOwner and of its slow path.
type FreeSliceFunc func(s []byte)

// Init makes p an operation that always takes the slow path.
func (p *SliceBySize) Init(slow SliceFunc) {
	p.sliceSlow = slow
	current.initSliceBySize(p)
}

// Fill gives p the stacks of from, which has been filled. rooms has the bytes that an object for n
// bytes has room for, at (n-1)/FineStep up to MaxFine, and behind those, at (n-1)/CoarseStep, as
// far as the stacks reach; it isn't changed later. p may be in use; Fill is called once.
func (p *SliceBySize) Fill(from *PopBySize, rooms []uint16) {
	_ = rooms[fineStacks+from.max/CoarseStep-1]
	p.table, p.rooms = from.table, unsafe.Pointer(unsafe.SliceData(rooms))
	atomic.StoreUintptr(&p.max, from.max) // last: makes the rest take effect
}

// Init makes f an operation that always takes the slow path. Fill is FreeByOwner's.
func (f *FreeSliceByOwner) Init(slow FreeSliceFunc) {
	f.sliceSlow = slow
	current.initFreeSliceByOwner(f)
}
