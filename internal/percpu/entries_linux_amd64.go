package percpu

// entries holds the addresses of the assembly's functions. From Go their names stand for
// wrappers that the compiler makes, in its own ABI.
type entries struct {
	popRegister, freeRegister, popStack, pushStack, lockStack uintptr
	popBySize, freeByOwner, enterReaders, exitReaders         uintptr
	// what operations are where those can't be used
	passPop, passFree, passBySize, passByOwner uintptr
}

//go:noescape
func readEntries(e *entries)

func codes() (e entries) {
	readEntries(&e)
	return e
}

// A sequence is the code of one and the descriptor that it names.
type sequence struct {
	code       uintptr
	descriptor *descriptor
}

// sequences lists all.
func (e entries) sequences() []sequence {
	return []sequence{
		{e.popRegister, &popRegisterCS},
		{e.freeRegister, &freeRegisterCS},
		{e.popStack, &popStackCS},
		{e.pushStack, &pushStackCS},
		{e.lockStack, &lockStackCS},
		{e.popBySize, &popBySizeCS},
		{e.freeByOwner, &freeByOwnerCS},
		{e.enterReaders, &enterReadersCS},
		{e.exitReaders, &exitReadersCS},
	}
}
