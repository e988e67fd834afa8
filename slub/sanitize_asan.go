//go:build asan && !race

package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/sys"
)

// Objects are poisoned while they are free, the bytes behind them always: the address sanitizer
// then reports any access to them, also by Go code. Of what Malloc returns the bytes beyond those
// that were asked for are poisoned, until their user asks for the object's Size, or gets a slice of
// which they are capacity.

const sanitized = true

// hidesBytes says that the sanitizer hides the bytes beside objects, and those of free objects: no
// red zone and no poison can be read there.
const hidesBytes = true

// acquireObject is called for an object that is allocated, exposeObject for one that a hook or the
// cache itself is about to look at, releaseObject for one that is free.
func acquireObject(p unsafe.Pointer, l layout) { sys.Unpoison(uintptr(p), l.size) }
func exposeObject(p unsafe.Pointer, l layout)  { sys.Unpoison(uintptr(p), l.size) }
func releaseObject(p unsafe.Pointer, l layout) { sys.Poison(uintptr(p), l.size) }

// limitObject allows the first n bytes of an object to be used, and no others of the room that it
// has.
func limitObject(p unsafe.Pointer, n, room uintptr) {
	sys.Unpoison(uintptr(p), room)
	if n < room {
		sys.Poison(uintptr(p)+n, room-n)
	}
}

// Readers may still read an object during its grace period, and one of TypesafeByRCU as long as its
// slab exists: it is not poisoned.
func shareObject(unsafe.Pointer)  {}
func deferObject(unsafe.Pointer)  {}
func expireObject(unsafe.Pointer) {}
