package percpu

import "unsafe"

// Func returns p as a func value, by reading its address as one.
func (p *Pop) Func() PopFunc { return *(*PopFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, by reading its address as one.
func (f *Free) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Func returns p as a func value, as Pop's does.
func (p *PopBySize) Func() SizeFunc { return *(*SizeFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, as Free's does.
func (f *FreeByOwner) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Operations whose code is not a sequence jump to their slow path at once. That of one that
// chooses among stacks chooses for itself.

func (p *Pop) pass()         { p.code = codes().passPop }
func (f *Free) pass()        { f.code = codes().passFree }
func (p *PopBySize) pass()   { p.code = codes().passBySize }
func (f *FreeByOwner) pass() { f.code = codes().passByOwner }
