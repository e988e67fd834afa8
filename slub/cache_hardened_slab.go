package slub

import (
	"fmt"

	"github.com/slubd/slubd/internal/mem"
)

// An object that is written to when it is free may never be allocated again. So a hardened cache
// looks once more at all objects of a slab whose pages go back: when it becomes empty, by Shrink or
// by Close. All of them are free and in no hands, so what is not zero was written after the free.
// The look takes as long as it takes to read the slab, some hundred nanoseconds for 4 KiB; to make
// and fill a slab again takes longer.

// inspectCleared returns what was written to an object that was cleared when it was freed, and lies
// in its slab; "" if nothing was. The slab has written a link to those in its chain.
func (c *Cache) inspectCleared(obj uintptr) (found string) {
	at, ok := c.writtenBeside(obj)
	if !ok {
		return ""
	}
	n := min(shownBytes, c.layout.size-at)
	return fmt.Sprintf("+%d reads % x, and was cleared when it was freed", at, mem.Bytes(obj+at, n))
}

// writtenBeside returns the offset of the first byte of an object that is neither zero nor part of
// a link.
func (c *Cache) writtenBeside(obj uintptr) (at uintptr, ok bool) {
	fp, size := c.layout.fp, c.layout.size
	if fp >= size {
		return written(obj, 0, size)
	}
	at, ok = written(obj, 0, fp)
	if !ok && c.slabs.StoredLink(obj) != 0 && !c.slabs.SoundLink(obj) { // of an object in no chain
		at, ok = written(obj, fp, min(fp+freePtrSize, size))
	}
	if !ok && fp+freePtrSize < size {
		at, ok = written(obj, fp+freePtrSize, size)
	}
	return at, ok
}
