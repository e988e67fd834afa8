//go:build asan && !race

package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

// Objects are poisoned while they are free, but for the free pointer, which the
// slabs read and write at any time. The address sanitizer then reports whoever
// touches one, Go code included.

const sanitized = true

func acquireObject(p unsafe.Pointer, l layout) { sys.Unpoison(uintptr(p), l.size) }

func releaseObject(p unsafe.Pointer, l layout) {
	addr := uintptr(p)
	sys.Poison(addr, min(l.fp, l.size))
	if after := l.fp + freePtrSize; after < l.size {
		sys.Poison(addr+after, l.size-after)
	}
}

// An object under a grace period is its readers'.
func deferObject(unsafe.Pointer)  {}
func expireObject(unsafe.Pointer) {}

// Pages leave the cache as they came, readable and writable throughout.
func (l *layer) acquireSlab(s slabRef) { sys.Unpoison(s.addr, s.bytes()) }
func (l *layer) releaseSlab(slabRef)   {}
