package slub

import (
	"sync"
	"unsafe"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/slab"
)

// With Q, what is freed in a debug cache waits before its memory serves again (kernel: KASAN's
// quarantine). A pointer that is used long after the free then meets an object that is free, and
// not another one. What it writes is found when the object leaves, if that is checked, or by the
// next allocation, Validate or Close.
//
//	freed, Poisoned --toSlabs--> waits, the first to come first --more than limit bytes wait,
//	Shrink, Close, memory is short--> checked again, in its slab
//
// For its slab an object that waits is out, like one in a sheaf. Its mark says Poisoned.

// A quarantine has the free objects of a debug cache that wait.
type quarantine struct {
	limit uintptr // bytes that may wait, by slots; constant

	mu    lock.Mutex
	first int       // index of the object that has waited longest
	objs  []uintptr // addresses, in the order in which they came
	shut  bool      // nothing waits any more: the cache is closed
}

// defaultQuarantine is how many bytes of each cache wait, unless SLUBD_QUARANTINE says otherwise.
const defaultQuarantine = 1 << 20

// quarantineBytes is that number in this process.
var quarantineBytes = sync.OnceValue(func() uintptr {
	return uintptr(readBytes("SLUBD_QUARANTINE", defaultQuarantine))
})

// newQuarantine returns that of a debug cache with the given flags, nil for none.
func newQuarantine(f debug.Flags) *quarantine {
	if !f.Has(debug.Quarantine) {
		return nil
	}
	return &quarantine{limit: quarantineBytes()}
}

// quarantined returns the quarantine of the cache, nil if it has none.
func (c *Cache) quarantined() *quarantine {
	if d := c.debug(); d != nil {
		return d.quarantine
	}
	return nil
}

// toSlabs gives objects whose use has ended to their slabs. With a quarantine they wait, and those
// go that have waited longest. One that is alone in its slab, for a sample of the profile, doesn't
// wait: it would keep a page. toSlabs waits for locks as the slabs' FreeBulk does. It may reorder
// objs.
func (c *Cache) toSlabs(objs []unsafe.Pointer) {
	if q := c.quarantined(); q != nil {
		n := 0
		for i, p := range objs {
			if c.isAlone(p) {
				objs[i], objs[n] = objs[n], p
				n++
			}
		}
		c.slabs.FreeBulk(objs[:n])
		objs = q.exchange(objs[n:], c.layout.slot)
		c.leaveQuarantine(objs)
	}
	c.slabs.FreeBulk(objs)
}

// toSlab is toSlabs for one object.
func (c *Cache) toSlab(p unsafe.Pointer) {
	if c.quarantined() == nil {
		c.slabs.Free(p)
		return
	}
	c.toSlabs([]unsafe.Pointer{p})
}

// leaveQuarantine looks at objects that have waited, where frees look at objects. What it finds is
// reported by reportFound.
func (c *Cache) leaveQuarantine(objs []unsafe.Pointer) {
	d := c.marks.debug
	if !d.has(debug.Consistency) || len(objs) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range objs {
		if c.slabs.MarkOf(p, 0) == slab.Poisoned {
			d.keepLocked(c.inspect(uintptr(p), false))
		}
	}
}

// emptyQuarantine gives all that waits to its slabs, and returns how many objects that were. With
// shut nothing waits from then on.
func (c *Cache) emptyQuarantine(shut bool) int {
	q := c.quarantined()
	if q == nil {
		return 0
	}
	objs := q.takeAll(shut)
	c.leaveQuarantine(objs)
	c.slabs.FreeBulk(objs)
	return len(objs)
}

// exchange puts objects of that many bytes each behind those that wait, and returns those in front
// that are too many.
func (q *quarantine) exchange(objs []unsafe.Pointer, bytes uintptr) (leaving []unsafe.Pointer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return objs
	}
	for _, p := range objs {
		q.objs = append(q.objs, uintptr(p))
	}
	most := int(q.limit / bytes)
	for len(q.objs)-q.first > most {
		leaving = append(leaving, mem.Ptr(q.objs[q.first]))
		q.first++
	}
	if q.first > len(q.objs)/2 { // the part in front is given back before it is the larger one
		q.objs = q.objs[:copy(q.objs, q.objs[q.first:])]
		q.first = 0
	}
	return leaving
}

// takeAll empties the quarantine.
func (q *quarantine) takeAll(shut bool) (objs []unsafe.Pointer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	objs = q.appendTo(nil)
	q.objs, q.first = nil, 0
	q.shut = q.shut || shut
	return objs
}

// appendFree appends the objects that wait.
func (q *quarantine) appendFree(dst []unsafe.Pointer) []unsafe.Pointer {
	if q == nil {
		return dst
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.appendTo(dst)
}

// appendTo is appendFree under the lock.
func (q *quarantine) appendTo(dst []unsafe.Pointer) []unsafe.Pointer {
	for _, obj := range q.objs[q.first:] {
		dst = append(dst, mem.Ptr(obj))
	}
	return dst
}
