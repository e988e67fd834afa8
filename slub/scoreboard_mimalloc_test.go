package slub

import (
	"errors"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Sizes of the objects of programs, in bytes, and how often they allocate and free others between
// two steps.
const (
	boardSize  = 64
	boardLarge = 256 << 10
	boardTurns = 1 << 14
)

// theirs is the byte that a program writes and must not read later.
const theirs = 'A'

// mimallocPrograms are those of mimalloc-bench, folder security.
func mimallocPrograms() []program {
	list := []program{
		{name: "double_free", run: func(g *board) outcome { return g.freeTwice(boardSize, func() {}) }},
		{name: "double_free_delayed", run: func(g *board) outcome {
			return g.freeTwice(boardSize, func() { g.turns(boardSize, 1024) })
		}},
		{name: "double_free_interleaved", run: func(g *board) outcome {
			q := g.malloc(boardSize)
			return g.freeTwice(boardSize, func() { g.b.Free(q) })
		}},
		{name: "double_free_reuse", run: func(g *board) outcome {
			g.freeTwice(boardSize, func() {})
			g.turns(boardSize, boardTurns)
			return missed
		}},
		{name: "double_free_single_reuse", run: func(g *board) outcome {
			var q unsafe.Pointer
			g.freeTwice(boardSize, func() { q = g.malloc(boardSize) })
			g.b.Free(q)
			return missed
		}},
		{name: "executable_heap", run: executeHeap},
		{name: "impossibly_large_malloc", run: func(g *board) outcome { return g.tooLarge(-2) }},
		{name: "invalid_free", run: func(g *board) outcome { return g.freeAddress(mem.Ptr(1)) }},
		{name: "invalid_free_alloca", run: func(g *board) outcome {
			room := make([]byte, boardSize)
			defer runtime.KeepAlive(room)
			return g.freeAddress(unsafe.Pointer(&room[0]))
		}},
		{name: "invalid_free_stack", run: func(g *board) outcome {
			var room [boardSize]byte
			return g.freeAddress(mem.Ptr(mem.Addr(&room)))
		}},
		{name: "malloc_reuse", run: func(g *board) outcome { return g.reused(boardSize, boardSize) }},
		{name: "malloc_reuse_downsize", run: func(g *board) outcome { return g.reused(boardSize, boardSize/2) }},
		{name: "realloc_reuse", run: func(g *board) outcome {
			p := g.malloc(8)
			q, err := g.b.Realloc(p, 1024)
			same(g.t, "Realloc", err, nil)
			g.b.Free(q)
			return fineIf(p != q)
		}},
		{name: "write_after_free", run: func(g *board) outcome {
			p := g.malloc(boardSize)
			g.b.Free(p)
			set(p, boardSize, theirs)
			return missed
		}},
		{name: "write_after_free_reuse", run: func(g *board) outcome {
			p := g.malloc(boardSize)
			g.b.Free(p)
			set(p, boardSize, theirs)
			g.turns(boardSize, boardTurns)
			return missed
		}},
		{name: "zero_after_free", run: func(g *board) outcome { return g.readFreed(boardSize) }},
		{name: "zero_on_malloc", run: func(g *board) outcome {
			ps := make([]unsafe.Pointer, 4096)
			for i := range ps {
				ps[i] = g.malloc(boardSize)
				set(ps[i], boardSize, theirs)
			}
			for _, p := range ps {
				g.b.Free(p)
			}
			p := g.malloc(boardSize)
			leaked := shows(p, boardSize, theirs)
			g.b.Free(p)
			return fineIf(!leaked)
		}},
		{name: "delete_type_size_mismatch", run: freeOtherType},
		{name: "read_zero_size", run: func(g *board) outcome { return g.useNothing(false, false) }},
		{name: "read_zero_size_free", run: func(g *board) outcome { return g.useNothing(false, true) }},
		{name: "write_zero_size", run: func(g *board) outcome { return g.useNothing(true, false) }},
		{name: "write_zero_size_free", run: func(g *board) outcome { return g.useNothing(true, true) }},
	}
	for name, off := range map[string]int{"one_byte": 1, "32_byte": 32, "one_mbyte": mib} {
		list = append(list,
			program{name: name + "_overflow", run: func(g *board) outcome { return g.overrun(boardSize-1+off, 1) }},
			program{name: name + "_underflow", run: func(g *board) outcome { return g.overrun(-off, 1) }},
			program{name: name + "_memcpy_overflow", run: func(g *board) outcome { return g.overrun(0, boardSize+off) }},
			program{name: name + "_memcpy_underflow", run: func(g *board) outcome { return g.overrun(-off, boardSize) }})
	}
	for name, off := range map[string]int{"close": 4096, "far": 1 << 30, "unaligned": 1, "unaligned_multiple": 8} {
		list = append(list, program{name: "invalid_free_" + name, run: func(g *board) outcome { return g.freeBeside(boardSize, off) }})
	}
	for _, name := range []string{"invalid_array_delete_char", "invalid_array_delete_string", "invalid_delete_array_char", "invalid_delete_array_string"} {
		list = append(list, program{name: name, absent: "Free is one function for one value and for many"})
	}
	return list
}

// turns allocates and frees n bytes, as often as it is told.
func (g *board) turns(n, times int) {
	for range times {
		g.b.Free(g.malloc(n))
	}
}

// freeTwice frees an object, calls a function, and frees it again.
func (g *board) freeTwice(n int, between func()) outcome {
	p := g.malloc(n)
	g.b.Free(p)
	between()
	g.b.Free(p)
	return missed
}

// freeAddress frees what was never allocated.
func (g *board) freeAddress(p unsafe.Pointer) outcome {
	g.b.Free(p)
	return missed
}

// freeBeside frees the address off bytes behind the start of an object of n bytes.
func (g *board) freeBeside(n, off int) outcome {
	return g.freeAddress(mem.Ptr(uintptr(g.malloc(n)) + uintptr(off)))
}

// tooLarge allocates more than there can be.
func (g *board) tooLarge(n int) outcome {
	switch p, err := g.b.Malloc(n); {
	case p == nil && (errors.Is(err, ErrSize) || errors.Is(err, ErrNoMemory)):
		return asError
	}
	return missed
}

// overrun writes n bytes, off bytes behind the start of an object, which is then freed.
func (g *board) overrun(off, n int) outcome {
	p := g.one(boardSize)
	set(mem.Ptr(uintptr(p)+uintptr(off)), n, theirs)
	g.b.Free(p)
	return missed
}

// reused reports whether the next allocation has the memory that was just freed.
func (g *board) reused(n, next int) outcome {
	p := g.malloc(n)
	g.b.Free(p)
	q := g.malloc(next)
	g.b.Free(q)
	return fineIf(p != q)
}

// readFreed looks for the content of an object that is free.
func (g *board) readFreed(n int) outcome {
	p := g.malloc(n)
	set(p, n, theirs)
	g.b.Free(p)
	return fineIf(!shows(p, n, theirs))
}

// useNothing reads or writes the first of no bytes.
func (g *board) useNothing(write, free bool) outcome {
	p := g.malloc(0)
	if write {
		*byteAt(p, 0) = theirs
	} else {
		loadedByte = *byteAt(p, 0)
	}
	if free {
		g.b.Free(p)
	}
	return missed
}

// loadedByte keeps a load from being left out.
var loadedByte byte

// freeOtherType frees an object as if it were of another, larger type.
func freeOtherType(g *board) outcome {
	small, large := g.cache(Config{Name: "char", Size: 1}), g.cache(Config{Name: "struct", Size: 72})
	p, err := small.Alloc()
	same(g.t, "Alloc", err, nil)
	large.Free(p)
	return missed
}

// executeHeap calls code that it has written to an object.
func executeHeap(g *board) outcome {
	p := g.malloc(boardSize)
	copy(mem.Bytes(uintptr(p), boardSize), map[string]string{"amd64": "\xc3", "arm64": "\xc0\x03\x5f\xd6"}[runtime.GOARCH])
	code := uintptr(p)
	entry := &code // a function value is the address of a word with that of its code
	(*(*func())(unsafe.Pointer(&entry)))()
	return missed
}
