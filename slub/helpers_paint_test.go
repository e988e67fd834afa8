package slub

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// constructed is the stamp of what a constructor paints.
const constructed = 1 << 62

// spread makes the words of a pattern differ from each other in all bytes.
const spread = 0x9e3779b97f4a7c15

// paint fills an object with what its address and stamp determine. The stamp can be read back
// from the first word.
func paint(p unsafe.Pointer, size uintptr, stamp uint64) {
	next := stamp ^ uint64(uintptr(p))
	words := unsafe.Slice((*uint64)(p), size/8)
	for i := range words {
		words[i] = next
		next += spread
	}
	for i := size &^ 7; i < size; i++ {
		*(*byte)(unsafe.Add(p, i)) = byte(next >> (i & 7 * 8))
	}
}

// painted reports whether every byte is as paint left it.
func painted(p unsafe.Pointer, size uintptr, stamp uint64) bool {
	next := stamp ^ uint64(uintptr(p))
	var differ uint64
	for _, w := range unsafe.Slice((*uint64)(p), size/8) {
		differ |= w ^ next
		next += spread
	}
	for i := size &^ 7; i < size; i++ {
		differ |= uint64(*(*byte)(unsafe.Add(p, i)) ^ byte(next>>(i&7*8)))
	}
	return differ == 0
}

// stampIn reads the stamp of a painted object of at least 8 bytes.
func stampIn(p unsafe.Pointer) uint64 { return *(*uint64)(p) ^ uint64(uintptr(p)) }

func zeroed(p unsafe.Pointer, size uintptr) bool {
	var sum uint64
	for _, w := range unsafe.Slice((*uint64)(p), size/8) {
		sum |= w
	}
	rest := unsafe.Slice((*byte)(p), size)
	for i := size &^ 7; i < size; i++ {
		sum |= uint64(rest[i])
	}
	return sum == 0
}

// changeLink changes the bytes of an object's free pointer, by atomic operations: the address
// sanitizer does not look at these. It returns what undoes it.
func changeLink(c *Cache, p unsafe.Pointer, change func(word uint64) uint64) (undo func()) {
	at := mem.At[uint64](uintptr(p) + c.layout.fp)
	before := atomic.LoadUint64(at)
	atomic.StoreUint64(at, change(before))
	return func() { atomic.StoreUint64(at, before) }
}

// smashLink makes an object's free pointer lead nowhere.
func smashLink(c *Cache, p unsafe.Pointer) (undo func()) {
	return changeLink(c, p, func(word uint64) uint64 { return word ^ 0xdead<<40 })
}
