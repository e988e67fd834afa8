package slub

import (
	"context"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub/internal/slab"
)

// Malloc returns n bytes. Their content is undefined; with InitOnAlloc it is zero. They are
// aligned to the largest power of two that divides the size of their class, which is at least 8,
// and above 32 KiB to a page.
//
// Malloc(0) takes no memory. It always returns the same address, which is not nil and faults when
// it is read or written. Free, FreeRCU, Realloc and Size treat it like nil.
//
// Any goroutine. The common case, up to 32 KiB and with one partition, is one restartable
// sequence. Errors: ErrNoMemory, which is certain above 8 TiB; ErrClosed; ErrSize. (Kernel:
// kmalloc.)
func (b *Buckets) Malloc(n int) (unsafe.Pointer, error) { return b.malloc.Func()(n) }

// mallocSlow is Malloc where the sequence finds no class for n, or no object.
func (b *Buckets) mallocSlow(n int) (unsafe.Pointer, error) { return b.alloc(n, 2) }

// MallocContext is Malloc that waits until there is memory, or ctx ends; see Cache.AllocContext.
// Errors: ErrClosed; ErrSize; ErrNoMemory together with ctx.Err(), or alone if n bytes, or their
// pages, exceed the limit of the arena or the Group.
func (b *Buckets) MallocContext(ctx context.Context, n int) (unsafe.Pointer, error) {
	alloc := func() (unsafe.Pointer, error) { return b.allocNoClass(n, numa.NoNode) }
	if c := b.anyClass(n, 1); c != nil {
		alloc = func() (unsafe.Pointer, error) {
			p, err := c.Alloc()
			c.limitTo(n, p, err)
			return p, err
		}
	}
	p, err := alloc()
	if err == nil {
		return p, nil
	}
	bytes := int64(n)
	if maxClass < n && n <= arena.MaxMapping {
		bytes = int64(b.largeBytes(uintptr(n))) // its pages must fit
	}
	return waitForRoom(ctx, b.most, bytes, err, alloc)
}

// alloc allocates n bytes from a class or as pages. The function that the user called is skip
// frames up the stack; its call site decides on the partition.
func (b *Buckets) alloc(n, skip int) (p unsafe.Pointer, err error) {
	if uint(n)-1 < b.plain {
		return b.caches[classOf(uint(n))].Alloc()
	}
	c := b.anyClass(n, skip+1)
	switch {
	case c == nil:
		return b.allocNoClass(n, numa.NoNode)
	case c.onlyMarked():
		p, err = c.allocMarked()
	default:
		p, err = c.Alloc()
	}
	c.limitTo(n, p, err)
	return p, err
}

// limitTo is called with what an allocation of n bytes has returned. In debug caches, and in builds
// with the address sanitizer, it allows these bytes alone to be used.
func (c *Cache) limitTo(n int, p unsafe.Pointer, err error) {
	if err != nil {
		return
	}
	if sanitized {
		limitObject(p, uintptr(n), c.layout.size)
	}
	c.limitDebug(p, uintptr(n))
}

// anyClass returns the cache for n bytes, and nil if there is none: for no bytes, for more than
// maxPageClass, and if a page class is not made yet. The function that the user called is skip
// frames up the stack.
func (b *Buckets) anyClass(n, skip int) *Cache {
	switch {
	case n <= 0:
		return nil
	case n <= maxClass:
		return b.class(n, skip+1)
	}
	return b.pageClass(uintptr(n))
}

// allocNoClass allocates n bytes for which there is no class; see allocLarge for the node.
func (b *Buckets) allocNoClass(n int, node numa.Node) (unsafe.Pointer, error) {
	switch {
	case n < 0:
		return nil, fmt.Errorf("%w: %d", ErrSize, n)
	case n == 0:
		return nothing()
	}
	return b.allocLarge(uintptr(n), uintptr(n), node)
}

// class returns the cache for n bytes, 1 to maxClass. The function that the user called is skip
// frames up the stack.
func (b *Buckets) class(n, skip int) *Cache {
	class := classOf(uint(n))
	if b.partitions > 1 {
		class += b.partition(skip+1) * uint(numClasses)
	}
	return b.caches[class]
}

// partition returns the partition for the call site of the function skip frames up the stack.
func (b *Buckets) partition(skip int) uint {
	var pc [1]uintptr
	runtime.Callers(skip+2, pc[:])    // 2 for Callers and partition
	const golden = 0x9e3779b97f4a7c15 // 2^64 / golden ratio: spreads all bits upwards
	h := (uint64(pc[0]) ^ b.secret) * golden
	h = (h ^ h>>32) * golden // once more: two call sites of one function differ in few bits
	return uint(h >> 32 % uint64(b.partitions))
}

// MallocZero is Malloc with the n bytes zeroed. It costs a call and the zeroing more. Errors: as
// Malloc. (Kernel: kzalloc.)
func (b *Buckets) MallocZero(n int) (unsafe.Pointer, error) {
	if uintptr(n)-1 < b.direct.Load() {
		p, err := b.malloc.Func()(n)
		if err == nil {
			mem.Zero(uintptr(p), uintptr(n))
		}
		return p, err
	}
	return b.mallocZero(n, 1)
}

// mallocZero is MallocZero. The function that the user called is skip frames up the stack.
func (b *Buckets) mallocZero(n, skip int) (unsafe.Pointer, error) {
	switch {
	case n > maxClass:
		return b.allocLarge(uintptr(n), 0, numa.NoNode)
	case n <= 0:
		return b.alloc(n, skip+1)
	}
	c := b.class(n, skip+1)
	if c.instrumented() {
		p, err := c.allocZero(uintptr(n))
		c.limitTo(n, p, err)
		return p, err
	}
	p, err := c.Alloc()
	if err == nil {
		mem.Zero(uintptr(p), uintptr(n))
	}
	return p, err
}

// Free frees what Malloc, MallocZero, Realloc or Bytes of these Buckets returned. It ignores nil
// and the address of no bytes. Like Cache.Free it checks the pointer on every call and reports
// one that it doesn't know. Any goroutine. (Kernel: kfree.)
func (b *Buckets) Free(p unsafe.Pointer) { b.free.Func()(p) }

// freeSlow is Free where the sequence finds no cache by the owner word, or its stack refuses.
func (b *Buckets) freeSlow(p unsafe.Pointer) {
	switch c := b.cacheOf(p); {
	case c == nil:
		b.freeLarge(p)
	case c.onlyMarked():
		c.freeMarked(p)
	default:
		c.Free(p)
	}
}

// FreeRCU frees p after a grace period of the Domain and a call of RCUDtor; see Cache.FreeRCU.
// (Kernel: kfree_rcu.)
func (b *Buckets) FreeRCU(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeRCU(p)
		return
	}
	b.freeLargeAfterGrace(p, backlog.MayWait)
}

// FreeRCUNoWait is a FreeRCU that never waits; see Cache.FreeRCUNoWait.
func (b *Buckets) FreeRCUNoWait(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeRCUNoWait(p)
		return
	}
	b.freeLargeAfterGrace(p, backlog.NoWait)
}

// FreeRCUContext is a FreeRCU that waits at RCUHardLimit as long as ctx lasts; see
// Cache.FreeRCUContext.
func (b *Buckets) FreeRCUContext(ctx context.Context, p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeRCUContext(ctx, p)
		return
	}
	b.freeLargeAfterGrace(p, backlog.WaitFor(ctx))
}

// Size returns the number of bytes that p has room for, which is at least what was asked for; 0
// for nil and for the address of no bytes. For a pointer that these Buckets did not return it
// reports as Free does, and returns 0. In hardened and debug caches it does so for an object that
// is free, too. Any goroutine that holds p. (Kernel: ksize.)
func (b *Buckets) Size(p unsafe.Pointer) int {
	if c := b.cacheOf(p); c != nil {
		if c.ownerOrReport(p) == 0 || c.freeAndReported(p) {
			return 0
		}
		n := c.room(p)
		c.reportFound()
		return n
	}
	if isNothing(p) {
		return 0
	}
	l, ok := b.largeAt(p)
	if !ok || b.large.debug.waits(l) {
		b.refuse(p)
		return 0
	}
	n := b.largeRoom(l)
	b.reportLargeFound()
	return n
}

// largeRoom returns the bytes of a large object, which its user may use from now on.
func (b *Buckets) largeRoom(l large) int {
	p := mem.Ptr(l.addr)
	limitObject(p, l.bytes, l.bytes)
	b.limitLarge(l, l.bytes)
	return int(l.bytes)
}

// freeAndReported reports an object that is free, in a cache that has a table of marks. One that a
// Free hook gets, or that waits for a grace period, is not free yet: the hook, or a reader, may ask
// for its size. Of an object that a hook gets only a debug cache knows that it is not free.
func (c *Cache) freeAndReported(p unsafe.Pointer) bool {
	switch {
	case c.marks == nil || c.slabs.Marks() == nil:
		return false
	case c.debug() != nil:
		if c.slabs.MarkOf(p, 0) != slab.Poisoned {
			return false
		}
	case c.hooking.askedOnFree() || c.slabs.MarkOf(p, 0) != slab.Free:
		return false
	}
	c.refuseFreed(p)
	return true
}

// room returns the bytes of an object of a class, which its user may use from now on.
func (c *Cache) room(p unsafe.Pointer) int {
	limitObject(p, c.layout.size, c.layout.size)
	c.limitDebug(p, c.layout.size)
	return int(c.config.Size)
}
