//go:build asan && !race

package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

// Objects are poisoned while they are free, except for the free pointer, which the slabs read and
// write at any time. The address sanitizer then reports any access to them, also by Go code.

const sanitized = true

func acquireObject(p unsafe.Pointer, l layout) { sys.Unpoison(uintptr(p), l.size) }

func releaseObject(p unsafe.Pointer, l layout) {
	addr := uintptr(p)
	sys.Poison(addr, min(l.fp, l.size))
	if after := l.fp + freePtrSize; after < l.size {
		sys.Poison(addr+after, l.size-after)
	}
}

// Readers may still read an object during its grace period: it is not poisoned.
func deferObject(unsafe.Pointer)  {}
func expireObject(unsafe.Pointer) {}
