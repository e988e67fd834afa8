package percpu

import "unsafe"

// Func returns p as a func value, by reading its address as one.
func (p *Pop) Func() PopFunc { return *(*PopFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, by reading its address as one.
func (f *Free) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Operations whose code is not a sequence jump to their slow path at once.

func (p *Pop) pass()  { p.code = codes().passPop }
func (f *Free) pass() { f.code = codes().passFree }

// entries holds the addresses of the assembly's functions.
type entries struct {
	sections          [5]uintptr // popRegister, freeRegister, popStack, pushStack, lockStack
	passPop, passFree uintptr
	bySize, byOwner   uintptr
	// what the two before are where they can't be used
	passBySize, passByOwner uintptr
	readers                 [2]uintptr // enterReaders, exitReaders
}

//go:noescape
func readEntries(e *entries)

func codes() (e entries) {
	readEntries(&e)
	return e
}

// sequences returns where those functions start that contain a sequence.
func (e entries) sequences() []uintptr { return append(e.sections[:], e.readers[:]...) }
