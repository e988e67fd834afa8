//go:build amd64 || arm64

package percpu

import "unsafe"

// Func returns p as a func value, by reading its address as one.
func (p *Pop) Func() PopFunc { return *(*PopFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, by reading its address as one.
func (f *Free) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Func returns p as a func value, like Pop.Func.
func (p *PopBySize) Func() SizeFunc { return *(*SizeFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, like Free.Func.
func (f *FreeByOwner) Func() FreeFunc { return *(*FreeFunc)(unsafe.Pointer(&f)) }

// Func returns p as a func value, like Pop.Func.
func (p *PopByNode) Func() NodeFunc { return *(*NodeFunc)(unsafe.Pointer(&p)) }

// Func returns p as a func value, like Pop.Func.
func (p *SliceBySize) Func() SliceFunc { return *(*SliceFunc)(unsafe.Pointer(&p)) }

// Func returns f as a func value, like Free.Func.
func (f *FreeSliceByOwner) Func() FreeSliceFunc { return *(*FreeSliceFunc)(unsafe.Pointer(&f)) }

// setSlowCode makes an operation whose code jumps to its slow path at once. The slow path of a
// PopBySize or FreeByOwner chooses the stack itself.

func (p *Pop) setSlowCode()         { p.code = codes().slowPop }
func (f *Free) setSlowCode()        { f.code = codes().slowFree }
func (p *PopBySize) setSlowCode()   { p.code = codes().slowBySize }
func (f *FreeByOwner) setSlowCode() { f.code = codes().slowByOwner }
func (p *PopByNode) setSlowCode()   { p.code = codes().slowByNode }

func (p *SliceBySize) setSlowCode()      { p.code = codes().slowSlice }
func (f *FreeSliceByOwner) setSlowCode() { f.code = codes().slowFreeSlice }
