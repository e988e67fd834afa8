package slub

import (
	"bytes"
	"math/rand/v2"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// A hardened cache finds, in production, what otherwise corrupts memory silently:
//
//	a second free            by the object's mark, whatever freed it first, on whatever CPU
//	a write after the free   the object is cleared when it is freed, and all zero when it is
//	                         allocated again
//	a write far behind       each eighth slab has a page without access behind it
//
// And it makes harder to foresee where an object lies: a sheaf that is refilled from slabs is
// shuffled, and so are the objects of a new slab.
//
// Alloc, Free, Malloc and its Free are sequences that also do this (percpu.PopMarked). What they
// don't understand they leave to Go code, which looks again, and reports. Objects that a
// constructor has prepared, and those of TypesafeByRCU, which readers may look at, are not cleared.

// On, as Config.Hardened or BucketsConfig.Hardened, hardens whatever SLUBD_HARDENED says. None
// excludes from it.
const On = 1

// hardenAll hardens all caches whose Config says nothing.
var hardenAll = readHardened()

// Hardened reports whether caches and Buckets are hardened whose Config.Hardened is 0: if
// SLUBD_HARDENED was in the environment when the process began, and was neither empty nor 0, off,
// false or no. Any goroutine.
func Hardened() bool { return hardenAll }

// hardened reports whether the config asks for a hardened cache. A debug cache is none.
func (c Config) hardened() bool {
	return (c.Hardened == On || c.Hardened == 0 && hardenAll) && c.debugFlags() == 0
}

// clearAll is what SLUBD_INIT_ON_FREE says: all caches have the flag InitOnFree that may have it
// (kernel: init_on_free=1).
var clearAll = readSwitch("SLUBD_INIT_ON_FREE")

// impliedFlags returns the flags that a cache has in addition to its own, as it is hardened or as
// the environment says.
func (c Config) impliedFlags() (flags Flags) {
	hardened := c.hardened()
	if hardened {
		flags = ShuffleFreelist
	}
	if (hardened || clearAll) && c.Ctor == nil && c.Flags&TypesafeByRCU == 0 {
		flags |= InitOnFree
	}
	return flags
}

// sequencesMark reports whether the cache has sequences that look at marks and clear objects. A
// build that checks everything has Go code. Objects above maxClass have it, too: a sequence that
// reads one would take too long for its CPU to begin it again and again.
func (c *Cache) sequencesMark() bool {
	return c.onlyMarks() && c.marks.hardened && !checked && c.sheaves != nil &&
		c.config.Flags&InitOnAlloc == 0 && c.layout.size <= maxClass && percpu.HasMarked()
}

// hardenedOps are the operations of a cache of which sequencesMark is true. They are not in the
// Cache, as those of clearing are not.
type hardenedOps struct {
	pop  percpu.PopMarked
	free percpu.FreeMarked
}

// operateHardened makes Alloc and Free sequences that look at marks and clear objects.
func (c *Cache) operateHardened(pop *percpu.Pop, free *percpu.Free) {
	ops := new(hardenedOps)
	ops.pop.Init(c.markedObjects(), c.allocMarked)
	ops.free.Init(c.markedObjects(), c.freeMarked, c.freeClaimed)
	pop.SetSlowOnly(ops.pop.Func())
	free.SetSlowOnly(ops.free.Func())
}

// markedObjects returns what sequences have to know of the cache's objects and their marks.
func (c *Cache) markedObjects() percpu.MarkedObjects {
	zero := c.layout.size
	if c.config.Flags&InitOnFree == 0 {
		zero = 0
	}
	return c.marks.push.Filter.Marked(owner.Of(c.id, 0), c.slabs.ObjectMarks(zero))
}

// clearLinks clears the free pointers of objects that come from slabs, so that the sequences find
// them zero. One that no slab has written stays as it is: the allocation of the object reports it.
func (c *Cache) clearLinks(objs []unsafe.Pointer) {
	for _, p := range objs {
		if obj := uintptr(p); c.slabs.StoredLink(obj) != 0 && c.slabs.SoundLink(obj) {
			mem.Zero(obj+c.layout.fp, freePtrSize)
		}
	}
}

// fenceEvery says which slabs of a hardened cache have a page without access behind them.
const fenceEvery = 8

// shuffle changes the order of objects to a random one (Fisher and Yates), so that a refill does
// not hand out neighbours one after the other.
func shuffle(objs []unsafe.Pointer) {
	var random uint64
	for i := len(objs) - 1; i > 0; i-- {
		if random < 1<<32 { // used up
			random = rand.Uint64() | 1<<63
		}
		// The upper half of a product of 32 bits is below i+1, as likely each.
		j := int(random & (1<<16 - 1) * uint64(i+1) >> 16)
		random >>= 16
		objs[i], objs[j] = objs[j], objs[i]
	}
}

// checkCleared reports a write to an object since it was freed, and clears it. The free pointer is
// zero as well, or what its slab has written there.
func (c *Cache) checkCleared(obj uintptr) {
	fp, size := c.layout.fp, c.layout.size
	if fp >= size {
		if at, ok := written(obj, 0, size); ok {
			c.reportWritten(obj, at)
		}
		return
	}
	at, ok := written(obj, 0, fp)
	if !ok && c.slabs.StoredLink(obj) != 0 {
		if c.slabs.SoundLink(obj) {
			mem.Zero(obj+fp, freePtrSize)
		} else {
			at, ok = written(obj, fp, fp+freePtrSize)
		}
	}
	if behind := fp + freePtrSize; !ok && behind < size { // a link may reach beyond the object
		at, ok = written(obj, behind, size)
	}
	if ok {
		c.reportWritten(obj, at)
	}
}

// zeroes is what a cleared object is compared with.
var zeroes [mem.PageSize]byte

// written returns the offset of the first byte of an object, within [from, to), that is not zero.
// from <= to.
func written(obj, from, to uintptr) (at uintptr, ok bool) {
	off := from
	// The runtime compares 64 bytes at a time.
	for to-off >= 64 {
		n := min(to-off, uintptr(len(zeroes)))
		if !bytes.Equal(mem.Bytes(obj+off, n), zeroes[:n]) {
			break
		}
		off += n
	}
	for ; off+8 <= to && *mem.At[uint64](obj + off) == 0; off += 8 {
	}
	for ; off < to; off++ {
		if *mem.At[byte](obj + off) != 0 {
			return off, true
		}
	}
	return 0, false
}

// shownBytes is how many bytes of a write after a free a report has, from the first one on.
const shownBytes = 16

// reportWritten reports a write to a free object, of which the byte at an offset is the first that
// shows. Then it clears the object, as the free had done. If the report doesn't return, the object
// has no owner: it goes back to its slab.
func (c *Cache) reportWritten(obj, at uintptr) {
	n := min(shownBytes, c.layout.size-at)
	r := hooks.NewReport(hooks.WriteAfterFree, c.primary().name, obj, "+%d reads % x, and was cleared when it was freed",
		at, mem.Bytes(obj+at, n))
	mem.Zero(obj, c.layout.written())
	callback.Guard(
		func() { c.fire(r) },
		func() { c.takeBack([]unsafe.Pointer{mem.Ptr(obj)}) })
}
