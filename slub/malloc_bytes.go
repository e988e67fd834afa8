package slub

import (
	"strings"
	"unsafe"

	"github.com/slubd/slubd/arena"
)

// Bytes returns a slice of n bytes, not zeroed, whose capacity is all the room there is: an append
// within it stays off-heap. Free it with FreeBytes. Like Malloc it is one restartable sequence in
// the common case, of some instructions more. Errors: as Malloc.
func (b *Buckets) Bytes(n int) (s []byte, err error) {
	s, err = b.bytes.Func()(n) // with a return of the call it would not be inlined
	return
}

// bytesSlow is Bytes where the sequence finds no class for n, or no object.
func (b *Buckets) bytesSlow(n int) ([]byte, error) {
	p, err := b.alloc(n, 2)
	return b.newBytes(p, n, err)
}

// BytesZero is Bytes with the n bytes zeroed, but not the room beyond them. Errors: as Malloc.
func (b *Buckets) BytesZero(n int) ([]byte, error) {
	p, err := b.mallocZero(n, 1)
	return b.newBytes(p, n, err)
}

// newBytes returns the slice of n bytes at p, which were allocated for n bytes, with all the room
// there is.
func (b *Buckets) newBytes(p unsafe.Pointer, n int, err error) ([]byte, error) {
	if err == nil && 0 < n && n <= maxClass {
		room := classSizes[classOf(uint(n))]
		b.allow(p, room, room) // its user may append
		return unsafe.Slice((*byte)(p), room)[:n], nil
	}
	return b.bytesAt(p, n, err)
}

// ReallocBytes returns a slice of n bytes that begins with the content of s, which Bytes returned.
// The bytes beyond len(s) have any content. s may be any slice that begins at the first byte; of it
// only len(s) bytes are kept, and it must not be used afterwards. The result has the same memory if
// n bytes fit there; see Realloc. A slice without capacity has no memory: the result is then that
// of Bytes. On error s is unchanged.
//
// Any goroutine. It costs what Realloc costs. Errors: as Realloc; ErrForeign, after a report, also
// for a slice that append has moved to the Go heap.
func (b *Buckets) ReallocBytes(s []byte, n int) ([]byte, error) {
	if b.refuseOutgrown(s) {
		return nil, ErrForeign
	}
	p, err := b.realloc(bytesPtr(s), len(s), n, false, 1)
	return b.bytesAt(p, n, err)
}

// bytesAt returns the slice of n bytes at p, with all the room there is: after a Realloc it may be
// more than that of n bytes' class.
func (b *Buckets) bytesAt(p unsafe.Pointer, n int, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return []byte{}, nil
	}
	return unsafe.Slice((*byte)(p), b.roomAt(p))[:n], nil
}

// roomAt is Size of an object that was just allocated. It reports nothing: its user would lose the
// object if a report didn't return.
func (b *Buckets) roomAt(p unsafe.Pointer) int {
	if c := b.cacheOf(p); c != nil {
		return c.room(p)
	}
	l, _ := b.largeAt(p)
	return b.largeRoom(l)
}

// bytesPtr returns the address of a slice's first byte; nil for a slice without capacity.
func bytesPtr(s []byte) unsafe.Pointer {
	if cap(s) == 0 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(s))
}

// FreeBytes frees what Bytes returned. s may be any slice of it that begins at its first byte; a
// slice without capacity is ignored. An append beyond the capacity makes a slice on the Go heap,
// which FreeBytes reports and does not free: pass the old slice. It checks the pointer as Free
// does, in one restartable sequence in the common case. Any goroutine.
func (b *Buckets) FreeBytes(s []byte) { b.freeBytes.Func()(s) }

// freeBytesSlow is FreeBytes where the sequence finds no cache, or its stack refuses, and for
// slices without capacity.
func (b *Buckets) freeBytesSlow(s []byte) {
	if !b.refuseOutgrown(s) {
		b.freeSlow(bytesPtr(s))
	}
}

// FreeBytesRCU is FreeBytes after a grace period of the Domain, in which readers may read the
// bytes; see FreeRCU. Any goroutine that may call FreeRCU, and at its cost.
func (b *Buckets) FreeBytesRCU(s []byte) {
	if !b.refuseOutgrown(s) {
		b.FreeRCU(bytesPtr(s))
	}
}

// outgrown is what is said of a slice on Go's heap.
const outgrown = "on Go's heap, as a slice of Bytes is when append has outgrown its capacity"

// refuseOutgrown reports a slice on Go's heap. The pointer of any other slice is looked at where
// pointers are.
func (b *Buckets) refuseOutgrown(s []byte) bool {
	p := bytesPtr(s)
	if isNothing(p) || b.cacheOf(p) != nil || arena.Find(uintptr(p)) != nil {
		return false
	}
	info := explain(p)
	if !strings.HasPrefix(info.detail, onHeap) {
		return false
	}
	info.detail = outgrown
	b.refuseAs(p, info)
	return true
}
