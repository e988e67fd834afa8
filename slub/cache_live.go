package slub

import (
	"iter"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// A LiveObject is an object that Cache.Live or Buckets.Live has found.
type LiveObject struct {
	Cache string // as in ProfileRecord
	Addr  uintptr
	Size  int64 // bytes that it has room for
	Node  numa.Node
}

// Sampled returns what the profile knows of the object: where and when it was allocated. ok is
// false if it was not sampled, or is free by now. Any goroutine.
func (o LiveObject) Sampled() (s SampledObject, ok bool) { return sampledAt(o.Addr) }

// Live yields the objects whose memory can't serve another allocation, in the order of their
// addresses: those in use, those that a Prefilled holds, and those given to FreeRCU or FreeDeferred
// that still wait; Barrier makes these free. Of aliases, which share slabs, it yields the objects
// of all. Objects of isolated slabs (see Stats.IsolatedSlabs) are left out.
//
// Other operations may go on meanwhile, also in the loop's body, which runs under no lock. Then an
// object that is in use all the time is yielded once. One that is allocated or freed meanwhile is
// yielded or not. One that is free all the time is not, unless operations move it to a sheaf and
// back to its slab, or from one CPU to another, just while it is looked for, or its slab is being
// made: its constructor may not have run. Once Close has begun, what CPUs' sheaves hold is yielded
// until Close empties them.
//
// The loop's body must not read an object that another goroutine may free: its memory may serve
// another allocation by then, and faults if it was guarded (Config.GuardRate).
//
// Any goroutine, not a callback. It takes milliseconds for each GiB that was ever used of the
// arena, and some ten nanoseconds for each object; for each 65,536 objects every CPU that holds
// some is interrupted once. A slab is looked at under its node's lock, one at a time.
func (c *Cache) Live() iter.Seq[LiveObject] {
	return func(yield func(LiveObject) bool) {
		defer runtime.KeepAlive(c)
		c.live(yield)
	}
}

// liveChunk is how many objects are looked up in the sheaves at a time.
const liveChunk = 1 << 16

// live is Live. For its slab an object in a sheaf is out, like one in use. So what is out is
// compared with what the sheaves hold before and after the slabs are looked at: an object that a
// refill or a flush moves in between is in one of the two.
func (c *Cache) live(yield func(LiveObject) bool) bool {
	type found struct {
		addr uintptr
		node int
	}
	var chunk []found
	before := c.heldFree()
	flush := func() bool {
		after := c.heldFree()
		for _, o := range chunk {
			if after[o.addr] {
				continue
			}
			if !yield(LiveObject{Cache: c.name, Addr: o.addr, Size: c.config.Size, Node: c.nodeAt(o.node)}) {
				return false
			}
		}
		before, chunk = after, chunk[:0]
		return true
	}
	for node, objs := range c.slabs.Out() {
		for _, obj := range objs {
			if !before[obj] {
				chunk = append(chunk, found{obj, node})
			}
		}
		if len(chunk) >= liveChunk && !flush() {
			return false
		}
	}
	return len(chunk) == 0 || flush()
}

// heldFree returns the free objects that lie in sheaves and in Locals.
func (c *Cache) heldFree() map[uintptr]bool {
	var objs []unsafe.Pointer
	if c.sheaves != nil {
		objs = c.sheaves.AppendFree(objs)
	}
	objs = c.locals.appendFree(objs)
	objs = c.quarantined().appendFree(objs)
	held := make(map[uintptr]bool, len(objs))
	for _, p := range objs {
		held[uintptr(p)] = true
	}
	return held
}

// appendFree appends the objects that Locals hold. A Local is read while its goroutine uses it:
// each word that is read was a free object when the number of objects was, since the fast path
// stores an object before it stores the number, and processors of the x86 family show stores in
// their order. On others the objects of Locals count as live.
func (l *localSet) appendFree(dst []unsafe.Pointer) []unsafe.Pointer {
	if runtime.GOARCH != "amd64" || l.open.Load() == 0 {
		return dst
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := l.first; s != nil; s = s.next {
		for i := range s.len() {
			dst = append(dst, mem.Ptr(atomic.LoadUintptr(&s.objs[i])))
		}
	}
	return dst
}
