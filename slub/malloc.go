package slub

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Malloc returns n bytes with whatever content they had, zero with InitOnAlloc. They
// are aligned to the largest power of two that divides their class, at least 8, and to
// the page beyond 4 KiB.
//
// Malloc(0) takes no memory: it returns the same address every time, not nil, which faults
// when it is read or written. Free, FreeRCU, Realloc and Size take it as they take nil.
//
// Errors: ErrNoMemory, for more than 8 TiB whatever the limits; ErrClosed; ErrSize for a negative n. (Kernel: kmalloc.)
func (b *Buckets) Malloc(n int) (unsafe.Pointer, error) { return b.malloc.Func()(n) }

// mallocSlow is what Malloc comes to when no table leads to the class.
func (b *Buckets) mallocSlow(n int) (unsafe.Pointer, error) { return b.alloc(n, 2) }

// alloc takes n bytes from wherever they come from. The function that the user called is
// skip frames up; who called that decides on the partition.
func (b *Buckets) alloc(n, skip int) (unsafe.Pointer, error) {
	switch {
	case 0 < n && n <= maxClass:
		return b.class(n, skip+1).Alloc()
	case n < 0:
		return nil, fmt.Errorf("%w: %d", ErrSize, n)
	case n == 0:
		return nothing()
	}
	return b.allocLarge(uintptr(n), false)
}

// class returns the cache for n bytes, 1 to maxClass. The function that the user called is
// skip frames up.
func (b *Buckets) class(n, skip int) *Cache {
	class := classOf(uint(n))
	if b.partitions > 1 {
		class += b.partition(skip+1) * uint(numClasses)
	}
	return b.caches[class]
}

// partition picks a partition by the call site of the function skip frames up.
func (b *Buckets) partition(skip int) uint {
	var pc [1]uintptr
	runtime.Callers(skip+2, pc[:])    // beside: Callers, partition
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: all bits of the product depend on all below
	return uint((uint64(pc[0]) ^ b.secret) * golden >> 32 % uint64(b.partitions))
}

// MallocZero is Malloc with the n bytes zeroed. (Kernel: kzalloc.)
func (b *Buckets) MallocZero(n int) (unsafe.Pointer, error) {
	switch {
	case n > maxClass:
		return b.allocLarge(uintptr(n), true)
	case n <= 0:
		return b.alloc(n, 1)
	}
	c := b.class(n, 1)
	if c.wrapped() {
		return c.AllocZero() // all of it, but before a hook sees it
	}
	p, err := c.Alloc()
	if err == nil {
		mem.Zero(uintptr(p), uintptr(n))
	}
	return p, err
}

// Free gives back what Malloc, Realloc or Bytes returned. nil and the address of no
// bytes are ignored. Checks as Cache.Free, on every call. (Kernel: kfree.)
func (b *Buckets) Free(p unsafe.Pointer) { b.free.Func()(p) }

// freeSlow is what Free comes to for what the table of owners doesn't lead to a cache.
func (b *Buckets) freeSlow(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.Free(p)
		return
	}
	b.freeLarge(p)
}

// FreeRCU is Free after a grace period of the Domain, and RCUDtor; see Cache.FreeRCU.
// (Kernel: kfree_rcu.)
func (b *Buckets) FreeRCU(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeRCU(p)
		return
	}
	b.freeLargeAfterGrace(p, true)
}

// FreeRCUNoWait is FreeRCU where nothing may be waited for; see Cache.FreeRCUNoWait.
func (b *Buckets) FreeRCUNoWait(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeRCUNoWait(p)
		return
	}
	b.freeLargeAfterGrace(p, false)
}

// Size returns how many bytes p has room for, at least what was asked for; 0 for nil
// and the address of no bytes. A pointer that isn't theirs is reported as by Free.
// (Kernel: ksize.)
func (b *Buckets) Size(p unsafe.Pointer) int {
	if c := b.cacheOf(p); c != nil {
		if c.checked(p) == 0 {
			return 0 // reported
		}
		return int(c.config.Size)
	}
	if isNothing(p) {
		return 0
	}
	l, ok := b.largeAt(p)
	if !ok {
		b.refuse(p)
		return 0
	}
	return int(l.bytes)
}

// Realloc returns n bytes that begin with what p holds. It is p itself where n bytes
// fit, unless that would leave more than half of a large one unused; else p is freed. A
// nil p is a Malloc, no bytes are a Free. On error p is as it was. (Kernel: krealloc.)
//
// Errors: as Malloc; ErrForeign, after the report, for a pointer that isn't theirs.
func (b *Buckets) Realloc(p unsafe.Pointer, n int) (unsafe.Pointer, error) {
	if isNothing(p) {
		return b.alloc(n, 1)
	}
	if n == 0 {
		b.Free(p)
		return nothing()
	}
	room := b.Size(p)
	if room == 0 {
		return nil, fmt.Errorf("%w: %p", ErrForeign, p)
	}
	if n > 0 && n <= room && (room <= maxClass || n > room/2) {
		return p, nil
	}
	q, err := b.alloc(n, 1)
	if err != nil {
		return nil, err
	}
	copy(mem.Bytes(uintptr(q), uintptr(n)), mem.Bytes(uintptr(p), uintptr(room)))
	b.Free(p)
	return q, nil
}

// Bytes is Malloc for a slice of n bytes, whose capacity is all that there is room for:
// appending that far stays off-heap. It is not zeroed. Give it back with FreeBytes.
func (b *Buckets) Bytes(n int) ([]byte, error) {
	p, err := b.alloc(n, 1)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return []byte{}, nil
	}
	return unsafe.Slice((*byte)(p), b.Size(p))[:n], nil
}

// FreeBytes gives back what Bytes returned, by any slice that begins where it did. One
// without capacity is ignored. An append beyond the capacity makes a slice on the Go heap,
// which is refused with a report: free the old one.
func (b *Buckets) FreeBytes(s []byte) {
	if cap(s) > 0 {
		b.Free(unsafe.Pointer(unsafe.SliceData(s[:cap(s)])))
	}
}
