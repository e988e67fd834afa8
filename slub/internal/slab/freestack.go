package slab

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// In builds with a sanitizer a MarkTable also has the call stack that has freed each object last.
// It lies off-heap like the marks, where the race detector does not look, and takes no lock: to
// note it orders no two goroutines that would not be ordered otherwise.

// freeStackDepth is how many frames are kept: the allocator's, and what its user's own packages
// have.
const freeStackDepth = 14

// freeStack is the return program counters of a call, innermost first; 0 behind the last.
type freeStack [freeStackDepth]uintptr

const freeStackSize = unsafe.Sizeof(freeStack{})

// NoteFree keeps the call stack, from skip frames above the caller on, as the one that has freed
// the object at addr. It does so in builds with a sanitizer.
//
//go:norace
func (t *MarkTable) NoteFree(addr uintptr, skip int) {
	if t == nil || t.frees == nil || !t.frees.isPrepared(addr) {
		return
	}
	var pcs freeStack
	runtime.Callers(skip+2, pcs[:])
	*t.freeStack(addr) = pcs
	runtime.KeepAlive(t)
}

// FreedBy returns what NoteFree has kept for the object at addr, which must have a mark; nil if it
// has kept nothing.
//
//go:norace
func (t *MarkTable) FreedBy(addr uintptr) (stack []uintptr) {
	if t == nil || t.frees == nil || !t.frees.isPrepared(addr) {
		return nil
	}
	for _, pc := range *t.freeStack(addr) {
		if pc != 0 {
			stack = append(stack, pc)
		}
	}
	runtime.KeepAlive(t)
	return stack
}

func (t *MarkTable) freeStack(addr uintptr) *freeStack {
	return mem.At[freeStack](t.frees.entry(addr))
}

// Prepare makes room for the mark and the call stack of a page run that starts at addr, which is no
// slab. Where the kernel refuses there is none, and NoteFree keeps nothing.
func (t *MarkTable) Prepare(addr uintptr) {
	if t != nil {
		_ = t.prepare(addr, mem.PageSize)
	}
}
