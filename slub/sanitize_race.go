//go:build race

package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// The race detector sees the arena, which is Go heap memory in these builds, but
// not the sequences that hand objects over. Free therefore releases on the object's
// address and Alloc acquires, which is the edge that an allocator promises. Free
// also counts as a write to all of it, so that a reader who didn't wait is found.

const sanitized = true

func acquireObject(p unsafe.Pointer, _ layout) { runtime.RaceAcquire(p) }

func releaseObject(p unsafe.Pointer, l layout) {
	runtime.RaceWriteRange(p, int(l.size))
	runtime.RaceReleaseMerge(p)
}

// FreeRCU hands the object to whoever expires it after the grace period.
func deferObject(p unsafe.Pointer)  { runtime.RaceReleaseMerge(p) }
func expireObject(p unsafe.Pointer) { runtime.RaceAcquire(p) }

// releaseSlab orders the making of a slab before the first Alloc of each object,
// acquireSlab their last Free before the next use of the pages.
func (l *layer) releaseSlab(s slabRef) {
	for i := range s.objects {
		runtime.RaceReleaseMerge(mem.Ptr(l.object(s, i)))
	}
}

func (l *layer) acquireSlab(s slabRef) {
	for i := range s.objects {
		runtime.RaceAcquire(mem.Ptr(l.object(s, i)))
	}
}
