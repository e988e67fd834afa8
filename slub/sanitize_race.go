//go:build race

package slub

import (
	"runtime"
	"unsafe"
)

// The race detector knows the arena, which is Go heap memory in these builds, but not the
// sequences that pass objects from Free to Alloc. So Free releases on the object's address and
// Alloc acquires: that is the happens-before edge that an allocator promises. Free also counts as
// a write to the whole object, so that a reader that didn't wait for it is found.

const sanitized = true

// hidesBytes says that the sanitizer hides the bytes beside objects, and those of free objects: no
// red zone and no poison can be read there.
const hidesBytes = false

func acquireObject(p unsafe.Pointer, _ layout) { runtime.RaceAcquire(p) }

// exposeObject and limitObject concern the address sanitizer.
func exposeObject(unsafe.Pointer, layout)           {}
func limitObject(p unsafe.Pointer, n, room uintptr) {}

func releaseObject(p unsafe.Pointer, l layout) {
	runtime.RaceWriteRange(p, int(l.size))
	runtime.RaceReleaseMerge(p)
}

// An object of TypesafeByRCU may be read by readers that have found it before it was freed. So its
// Free is no write.
func shareObject(p unsafe.Pointer) { runtime.RaceReleaseMerge(p) }

// FreeRCU passes the object to the goroutine that reclaims it after the grace period.
func deferObject(p unsafe.Pointer)  { runtime.RaceReleaseMerge(p) }
func expireObject(p unsafe.Pointer) { runtime.RaceAcquire(p) }
