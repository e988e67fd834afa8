package slub

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Realloc returns n bytes that begin with the content of p. The result is p itself if n bytes fit
// there, unless more than half of an object above 32 KiB would be unused; otherwise the content is
// copied and p is freed. With a nil p it is Malloc, with n = 0 it is Free. On error p is unchanged.
// (Kernel: krealloc.)
//
// Errors: Malloc's; ErrForeign, after a report, for a pointer that these Buckets did not return.
func (b *Buckets) Realloc(p unsafe.Pointer, n int) (unsafe.Pointer, error) {
	return b.realloc(p, math.MaxInt, n, false, 1)
}

// ReallocZero is Realloc of old bytes, with the bytes from old to n zeroed. old is what the caller
// has asked for: of an object's room only its user knows how much is content. It is Size(p) if it
// is more. Any goroutine. It costs what Realloc costs, and the zeroing. Errors: as Realloc; ErrSize
// also if old is negative. (Kernel: krealloc with __GFP_ZERO, which needs the caches to keep what
// was asked for.)
func (b *Buckets) ReallocZero(p unsafe.Pointer, old, n int) (unsafe.Pointer, error) {
	if old < 0 {
		return nil, fmt.Errorf("%w: %d", ErrSize, old)
	}
	return b.realloc(p, old, n, true, 1)
}

// realloc makes old bytes n bytes. With zero the bytes behind the old ones are zeroed. The function
// that the user called is skip frames up the stack.
func (b *Buckets) realloc(p unsafe.Pointer, old, n int, zero bool, skip int) (unsafe.Pointer, error) {
	if isNothing(p) {
		return b.allocTail(n, 0, zero, skip+1)
	}
	if n == 0 {
		b.Free(p)
		return nothing()
	}
	room, fits, err := b.fit(p, old, n, zero)
	switch {
	case err != nil:
		return nil, err
	case fits:
		return p, nil
	}
	old = min(old, room)
	q, err := b.allocTail(n, old, zero, skip+1)
	if err != nil {
		return nil, err
	}
	b.move(p, q, old, n, room, b.Free)
	return q, nil
}

// fit makes old bytes n bytes where they are, if these fit there. room is how many the object has
// room for. Errors: ErrForeign, after a report.
func (b *Buckets) fit(p unsafe.Pointer, old, n int, zero bool) (room int, fits bool, err error) {
	if room = b.held(p); room == 0 {
		return 0, false, fmt.Errorf("%w: %p", ErrForeign, p)
	}
	if n <= 0 || n > room || room > maxClass && n <= room/2 {
		return room, false, nil
	}
	b.allow(p, uintptr(n), uintptr(room))
	if old = min(old, room); zero && n > old {
		mem.Zero(uintptr(p)+uintptr(old), uintptr(n-old))
	}
	b.reportFoundAt(p)
	return room, true, nil
}

// move copies the first old bytes of p, which has more room, to the n bytes of q, and frees p. If a
// report or a hook doesn't return, it frees q, which has no user yet. It takes that care where
// there is no hook yet, too: SetHooks may set one before p is freed.
func (b *Buckets) move(p, q unsafe.Pointer, old, n, room int, free func(unsafe.Pointer)) {
	callback.Guard(func() {
		b.allow(p, uintptr(room), uintptr(room)) // its user may have used all of it
		b.reportFoundAt(p)                       // p is its user's until the copy is made
		copy(mem.Bytes(uintptr(q), uintptr(n)), mem.Bytes(uintptr(p), uintptr(old)))
		free(p)
	}, func() { free(q) })
}

// reportFoundAt makes the reports that were found in the cache of an object, if it is a debug
// cache, or in large objects. The user holds the object, and does so if a report doesn't return.
func (b *Buckets) reportFoundAt(p unsafe.Pointer) {
	if !b.debugged {
		return
	}
	if c := b.cacheOf(p); c != nil {
		c.reportFound()
	} else {
		b.reportLargeFound()
	}
}

// allow lets the user of an object use n bytes of the room that it has, and no others: where a
// sanitizer or a debug cache looks. It reports nothing; see limitDebug.
func (b *Buckets) allow(p unsafe.Pointer, n, room uintptr) {
	limitObject(p, n, room)
	if !b.debugged {
		return
	}
	if c := b.cacheOf(p); c != nil {
		c.limitDebug(p, n)
	} else {
		b.limitLarge(large{addr: uintptr(p)}, n)
	}
}

// allocTail allocates n bytes, and with zero zeroes those from the given one on.
func (b *Buckets) allocTail(n, from int, zero bool, skip int) (unsafe.Pointer, error) {
	if !zero || n <= from {
		return b.alloc(n, skip+1)
	}
	if n > maxClass {
		return b.allocLarge(uintptr(n), uintptr(from), numa.NoNode)
	}
	p, err := b.alloc(n, skip+1)
	if err == nil {
		mem.Zero(uintptr(p)+uintptr(from), uintptr(n-from))
	}
	return p, err
}

// held is Size of an object in use. For one that is free, or waits for a grace period, it returns 0
// after a report, where that can be seen: above 32 KiB.
func (b *Buckets) held(p unsafe.Pointer) int {
	if c := b.cacheOf(p); c != nil {
		if c.heldOrReport(p) == 0 {
			return 0
		}
		return int(c.config.Size)
	}
	l, ok := b.largeAt(p)
	if !ok || !b.inUse(l) {
		b.refuse(p)
		return 0
	}
	return int(l.bytes)
}
