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
	sections [numSections]uintptr
	// what operations are where those can't be used
	passPop, passFree, passBySize, passByOwner uintptr
}

// The sequences, by their index in entries.sections.
const (
	secPopRegister = iota
	secFreeRegister
	secPopStack
	secPushStack
	secLockStack
	secPopBySize
	secFreeByOwner
	secEnterReaders
	secExitReaders
	numSections
)

//go:noescape
func readEntries(e *entries)

func codes() (e entries) {
	readEntries(&e)
	return e
}
