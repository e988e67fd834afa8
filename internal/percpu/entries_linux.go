//go:build amd64 || arm64

package percpu

// entries holds the addresses of the assembly's functions. In Go their names stand for wrappers
// that the compiler makes, in its own ABI.
type entries struct {
	popRegister, freeRegister, popStack, pushStack, lockStack uintptr
	popBySize, freeByOwner, enterReaders, exitReaders         uintptr
	popZero, freeZero, popByNode, sliceBySize, freeSlice      uintptr
	popMarked, freeMarked, popMarkedBySize, freeMarkedByOwner uintptr
	freeZeroByOwner                                           uintptr
	spin                                                      uintptr
	// The code of operations that are only their slow path.
	slowPop, slowFree, slowBySize, slowByOwner, slowByNode, slowSlice, slowFreeSlice uintptr
}

//go:noescape
func readEntries(e *entries)

func codes() (e entries) {
	readEntries(&e)
	return e
}

// A sequence is the address of a sequence's code, and the descriptor that the code names.
type sequence struct {
	code       uintptr
	descriptor *descriptor
}

// sequences lists all sequences.
func (e entries) sequences() []sequence {
	return []sequence{
		{code: e.popRegister, descriptor: &popRegisterCS},
		{code: e.freeRegister, descriptor: &freeRegisterCS},
		{code: e.popStack, descriptor: &popStackCS},
		{code: e.pushStack, descriptor: &pushStackCS},
		{code: e.lockStack, descriptor: &lockStackCS},
		{code: e.popBySize, descriptor: &popBySizeCS},
		{code: e.freeByOwner, descriptor: &freeByOwnerCS},
		{code: e.popZero, descriptor: &popZeroCS},
		{code: e.freeZero, descriptor: &freeZeroCS},
		{code: e.freeZeroByOwner, descriptor: &freeZeroByOwnerCS},
		{code: e.popByNode, descriptor: &popByNodeCS},
		{code: e.sliceBySize, descriptor: &sliceBySizeCS},
		{code: e.freeSlice, descriptor: &freeSliceCS},
		{code: e.popMarked, descriptor: &popMarkedCS},
		{code: e.freeMarked, descriptor: &freeMarkedCS},
		{code: e.popMarkedBySize, descriptor: &popMarkedBySizeCS},
		{code: e.freeMarkedByOwner, descriptor: &freeMarkedByOwnerCS},
		{code: e.enterReaders, descriptor: &enterReadersCS},
		{code: e.exitReaders, descriptor: &exitReadersCS},
		{code: e.spin, descriptor: &spinCS},
	}
}
