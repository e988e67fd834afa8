package percpu

import "unsafe"

// Func returns p as a func value, as Pop's does.
func (p *PopBySize) Func() SizeFunc { return *(*SizeFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, as Free's does.
func (f *FreeByOwner) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Where the stacks can't be reached by a sequence, the slow path chooses.

func (p *PopBySize) pass()   { p.code = codes().passBySize }
func (f *FreeByOwner) pass() { f.code = codes().passByOwner }
