package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/slab"
)

// A freedBy is the call stack that has freed a mapping, in builds with a sanitizer; nil in others.
// Those of page runs lie where those of objects lie, in the table for objects of a page.
type freedBy []uintptr

// callStack returns the stack of the caller, without the innermost skip frames.
func callStack(skip int) freedBy {
	if !sanitized {
		return nil
	}
	pcs := make(freedBy, 14)
	return pcs[:runtime.Callers(skip+1, pcs)]
}

// runMarksOf returns the table for page runs, in builds with a sanitizer; nil if the kernel refuses
// the addresses.
func runMarksOf(a *arena.Arena) *slab.MarkTable {
	if !sanitized {
		return nil
	}
	t, err := companionOf(a).marks.For(a, mem.PageSize)
	if err != nil {
		return nil
	}
	return t
}

// largeFreedBy returns the call stack that has freed the large object at p; nil if it was not kept.
func (b *Buckets) largeFreedBy(p unsafe.Pointer) []uintptr {
	if !sanitized {
		return nil
	}
	if _, ok := b.pageOf(p); ok {
		return b.runMarks.FreedBy(uintptr(p))
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	return b.large.mine[uintptr(p)].freed
}
