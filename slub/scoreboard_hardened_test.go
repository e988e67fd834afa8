package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// hardenedPrograms are those of hardened_malloc, folder test. Names that mimalloc-bench has as well
// get a suffix.
func hardenedPrograms() []program {
	return []program{
		{name: "aligned_sized_delete_large", run: func(g *board) outcome { return g.aligned(9000, mem.PageSize) }},
		{name: "aligned_sized_delete_small", run: func(g *board) outcome { return g.aligned(24, 64) }},
		{name: "aligned_sized_delete_small_min_align", run: func(g *board) outcome { return g.aligned(0, 16) }},
		{name: "calloc_overflow", run: func(g *board) outcome {
			if p, err := g.b.MallocZero(-1); p == nil && err != nil {
				return asError
			}
			return missed
		}},
		{name: "calloc_zeroed", run: func(g *board) outcome {
			g.b.Free(filled(g, 128*16))
			p, err := g.b.MallocZero(128 * 16)
			same(g.t, "MallocZero", err, nil)
			defer g.b.Free(p)
			return fineIf(unlike(p, 128*16, 0) < 0)
		}},
		{name: "delete_type_size_mismatch (hm)", run: freeOtherType},
		{name: "double_free_large", run: func(g *board) outcome { return g.freeTwice(boardLarge, func() {}) }},
		{name: "double_free_large_delayed", run: func(g *board) outcome {
			q := g.malloc(boardLarge)
			return g.freeTwice(boardLarge, func() { g.b.Free(q) })
		}},
		{name: "double_free_small", run: func(g *board) outcome { return g.freeTwice(16, func() {}) }},
		{name: "double_free_small_delayed", run: func(g *board) outcome {
			q := g.malloc(16)
			return g.freeTwice(16, func() { g.b.Free(q) })
		}},
		{name: "free_sized_large", run: func(g *board) outcome { return g.sized(1<<20, 1<<20) }},
		{name: "free_sized_small", run: func(g *board) outcome { return g.sized(100, 100) }},
		{name: "impossibly_large_malloc (hm)", run: func(g *board) outcome { return g.tooLarge(-8) }},
		{name: "invalid_aligned_sized_delete_large", run: func(g *board) outcome { return g.sized(9000, 9000-10) }},
		{name: "invalid_aligned_sized_delete_small", run: func(g *board) outcome { return g.sized(24, 24+64) }},
		{name: "invalid_free_protected", run: func(g *board) outcome { return g.freeAddress(g.pages(false)) }},
		{name: "invalid_free_unprotected", run: func(g *board) outcome { return g.freeAddress(g.pages(true)) }},
		{name: "invalid_free_small_region", run: func(g *board) outcome { return g.freeBeside(16, 4*4096) }},
		{name: "invalid_free_small_region_far", run: func(g *board) outcome { return g.freeBeside(16, 1<<30) }},
		{name: "invalid_malloc_object_size_small", run: func(g *board) outcome { return g.ownerOf(16, 4*4096) }},
		{name: "invalid_malloc_object_size_small_quarantine", run: func(g *board) outcome { return g.sizeOf(16, 0, true) }},
		{name: "invalid_malloc_usable_size_small", run: func(g *board) outcome { return g.sizeOf(16, 4*4096, false) }},
		{name: "invalid_malloc_usable_size_small_quarantine", run: func(g *board) outcome { return g.sizeOf(16, 0, true) }},
		{name: "large_array_growth", run: growArray},
		{name: "malloc_noreuse", run: func(g *board) outcome {
			p := g.malloc(0)
			for range 512 {
				q := g.malloc(64)
				if p == q {
					return missed
				}
				g.b.Free(q)
			}
			return fine
		}},
		{name: "malloc_object_size", run: func(g *board) outcome { return g.roomBehind(16, 0) }},
		{name: "malloc_object_size_offset", run: func(g *board) outcome { return g.roomBehind(16, 5) }},
		{name: "malloc_object_size_zero", run: func(g *board) outcome { return fineIf(g.b.Size(g.malloc(0)) == 0) }},
		// The address is the same, but it is that of no byte, and Go leaves it open as well.
		{name: "malloc_zero_different", run: func(g *board) outcome {
			p, q := g.malloc(0), g.malloc(0)
			return fineIf(g.b.Size(p) == 0 && g.b.Size(q) == 0)
		}},
		{name: "overflow_large_1_byte", run: func(g *board) outcome { return g.overrunRoom(boardLarge, 0) }},
		{name: "overflow_large_8_byte", run: func(g *board) outcome { return g.overrunRoom(boardLarge, 7) }},
		{name: "overflow_small_1_byte", run: func(g *board) outcome { return g.overrunRoom(8, 0) }},
		{name: "overflow_small_8_byte", run: func(g *board) outcome { return g.overrunRoom(8, 7) }},
		{name: "read_after_free_large", run: func(g *board) outcome { return g.readFreed(boardLarge) }},
		{name: "read_after_free_small", run: func(g *board) outcome { return g.readFreed(16) }},
		{name: "read_zero_size (hm)", run: func(g *board) outcome { return g.useNothing(false, false) }},
		{name: "realloc_init", run: reallocElsewhere},
		{name: "string_overflow", run: readString},
		{name: "unaligned_free_large", run: func(g *board) outcome { return g.freeBeside(boardLarge, 1) }},
		{name: "unaligned_free_small", run: func(g *board) outcome { return g.freeBeside(16, 1) }},
		{name: "unaligned_malloc_usable_size_small", run: func(g *board) outcome { return g.sizeOf(16, 1, false) }},
		{name: "uninitialized_free", run: func(g *board) outcome { return g.freeAddress(mem.Ptr(1)) }},
		{name: "uninitialized_malloc_usable_size", run: func(g *board) outcome {
			g.b.Size(mem.Ptr(1))
			return missed
		}},
		{name: "uninitialized_read_large", run: func(g *board) outcome { return g.readFresh(boardLarge) }},
		{name: "uninitialized_read_small", run: func(g *board) outcome { return g.readFresh(8) }},
		{name: "uninitialized_realloc", run: func(g *board) outcome {
			if _, err := g.b.Realloc(mem.Ptr(1), 16); err != nil {
				return asError
			}
			return missed
		}},
		{name: "write_after_free_large", run: func(g *board) outcome {
			p := g.malloc(boardLarge)
			g.b.Free(p)
			*byteAt(p, 64<<10+1) = theirs
			return missed
		}},
		{name: "write_after_free_large_reuse", run: func(g *board) outcome {
			p := g.malloc(boardLarge)
			g.b.Free(p)
			q := g.malloc(boardLarge)
			*byteAt(p, 64<<10+1) = theirs
			hit := *byteAt(q, 64<<10+1) == theirs
			g.b.Free(q)
			return fineIf(!hit && p != q)
		}},
		{name: "write_after_free_small", run: func(g *board) outcome {
			p := g.malloc(128)
			g.b.Free(p)
			*byteAt(p, 65) = theirs
			g.turns(128, boardTurns)
			return missed
		}},
		{name: "write_after_free_small_reuse", run: func(g *board) outcome {
			p := g.malloc(128)
			g.b.Free(p)
			q := g.malloc(128)
			*byteAt(p, 65) = theirs
			g.turns(128, boardTurns)
			g.b.Free(q)
			return missed
		}},
		{name: "write_zero_size (hm)", run: func(g *board) outcome { return g.useNothing(true, false) }},
	}
}

// filled allocates n bytes and fills them.
func filled(g *board, n int) unsafe.Pointer {
	p := g.malloc(n)
	set(p, n, theirs)
	return p
}

// aligned allocates and frees n bytes with an alignment.
func (g *board) aligned(n, align int) outcome {
	p, err := g.b.MallocAligned(n, align)
	same(g.t, "MallocAligned", err, nil)
	set(p, n, theirs)
	ok := uintptr(p)%uintptr(align) == 0
	g.b.Free(p)
	return fineIf(ok)
}

// sized frees n bytes by a slice of another length. FreeBytes takes no size from it.
func (g *board) sized(n, length int) outcome {
	s, err := g.b.Bytes(n)
	same(g.t, "Bytes", err, nil)
	p := unsafe.Pointer(unsafe.SliceData(s))
	set(p, n, theirs)
	g.b.FreeBytes(mem.Bytes(uintptr(p), uintptr(length))[:length:length])
	q, r := g.malloc(n), g.malloc(n)
	ok := q != r
	g.b.Free(q)
	g.b.Free(r)
	return fineIf(ok)
}

// pages returns an address in memory of the program's own.
func (g *board) pages(writable bool) unsafe.Pointer {
	g.turns(16, 1)
	access := sys.NoAccess
	if writable {
		access = sys.ReadWrite
	}
	addr, err := sys.ReserveAs(16*mem.PageSize, access)
	same(g.t, "ReserveAs", err, nil)
	return mem.Ptr(addr + 8*mem.PageSize)
}

// sizeOf asks for the size at an address that is no object's start, or of an object that is free.
func (g *board) sizeOf(n, off int, free bool) outcome {
	p := g.malloc(n)
	if free {
		g.b.Free(p)
	}
	g.b.Size(mem.Ptr(uintptr(p) + uintptr(off)))
	return missed
}

// ownerOf asks for the owner of an address off bytes behind an object, as any address may be.
func (g *board) ownerOf(n, off int) outcome {
	p := g.malloc(n)
	o, ok := Owner(mem.Ptr(uintptr(p) + uintptr(off)))
	g.b.Free(p)
	return fineIf(!ok || o.Addr != uintptr(p))
}

// roomBehind asks how many bytes an object has, from the byte at an offset on.
func (g *board) roomBehind(n, off int) outcome {
	p := g.malloc(n)
	defer g.b.Free(p)
	o, ok := Owner(mem.Ptr(uintptr(p) + uintptr(off)))
	return fineIf(ok && o.Addr == uintptr(p) && o.Size >= int64(n) && g.b.Size(p) >= n)
}

// growArray reallocates an array again and again, each time half as large again.
func growArray(g *board) outcome {
	var p unsafe.Pointer
	size := boardLarge
	for range 10 {
		q, err := g.b.Realloc(p, size)
		same(g.t, "Realloc", err, nil)
		if p != nil && *byteAt(q, 0) != theirs {
			return missed
		}
		set(q, size, theirs)
		p, size = q, size*3/2
	}
	g.b.Free(p)
	return fine
}

// overrunRoom writes a byte behind all the room that an object has.
func (g *board) overrunRoom(n, off int) outcome {
	p := g.malloc(n)
	if n <= maxClass {
		g.b.Free(p)
		p = g.one(n)
	}
	*byteAt(p, g.b.Size(p)+off) ^= theirs
	g.b.Free(p)
	return missed
}

// reallocElsewhere reallocates on another goroutine what this one has allocated.
func reallocElsewhere(g *board) outcome {
	p, err := g.b.Realloc(nil, 12)
	same(g.t, "Realloc", err, nil)
	set(p, 12, theirs)
	done := make(chan outcome)
	go func() {
		q, err := g.b.Realloc(p, 1024)
		ok := err == nil && unlike(q, 12, theirs) < 0
		g.b.Free(q)
		done <- fineIf(ok)
	}()
	return <-done
}

// readString reads an object that has no zero byte up to the next one, as strlen does. It must not
// get to what its neighbours' users have written.
func readString(g *board) outcome {
	var ps []unsafe.Pointer
	p := g.one(16)
	for range 600 { // all of the slab that it lies in, and more
		ps = append(ps, g.malloc(16))
		set(ps[len(ps)-1], 16, 'B')
	}
	set(p, 16, theirs)
	ok := true
	for off := 0; *byteAt(p, off) != 0; off++ {
		ok = ok && *byteAt(p, off) != 'B'
	}
	for _, p := range append(ps, p) {
		g.b.Free(p)
	}
	return fineIf(ok)
}

// readFresh reads n bytes that nothing was written to, of memory that others have used and freed.
func (g *board) readFresh(n int) outcome {
	g.b.Free(filled(g, n))
	p := g.malloc(n)
	leaked := shows(p, n, theirs)
	g.b.Free(p)
	return fineIf(!leaked)
}
