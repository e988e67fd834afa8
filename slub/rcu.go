package slub

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mistakes"
)

// FreeRCU frees an object once every reader of the cache's Domain that may hold it
// has reported a quiescent state. The object keeps its content until then; after
// that RCUDtor is called, on some goroutine, and it can be allocated again. The
// caller has unlinked the object from whatever readers find it by. Checks as Free;
// nil is ignored. It never waits for a grace period.
//
// Objects gather in the CPU's rcu_free sheaf, which goes through one grace period
// as a whole. (The seed, RFC v1: kfree_rcu through __kfree_rcu_sheaf.)
func (c *Cache) FreeRCU(p unsafe.Pointer) { c.freeRCU.Func()(p) }

// freeRCUSlow is what FreeRCU comes to when the CPU's rcu_free sheaf is missing or
// would be full, or when the object can't go there: it lies on another node, in a
// slab of lower order, or isn't ours.
func (c *Cache) freeRCUSlow(p unsafe.Pointer) {
	own := c.ownerOf(p)
	if own == 0 {
		return
	}
	if mistakes.FreedAtOnce {
		c.Free(p)
		return
	}
	if sanitized {
		deferObject(p)
	}
	// Remote objects are not counted as refused, as the sheaf never saw them
	// (kernel-facts: F4; the kernel counts F5 to F9).
	local := int(own&(1<<nodeBits-1)) == c.localNode()
	if local && c.sheaves != nil && c.sheaves.FreeRCU(p, own) {
		return
	}
	if local && c.sheaves == nil {
		c.slabs.count(FreeRCUSheafFail, 1)
	}
	c.deferred.add(c, p)
}

// deferred gathers what no sheaf would take. Two arrays alternate: one whose grace
// period runs, and one that collects the next (kernel: struct kfree_rcu_cpu with
// its batches, one here since this path is for exceptions).
type deferred struct {
	mu            sync.Mutex
	next, waiting []unsafe.Pointer
	queued        bool // a callback for waiting is queued or running
	pending       atomic.Int64
}

func (d *deferred) add(c *Cache, p unsafe.Pointer) {
	d.pending.Add(1)
	d.mu.Lock()
	d.next = append(d.next, p)
	d.submit(c)
	d.mu.Unlock()
}

// submit asks for a grace period for what has been gathered, unless one is running.
// The caller holds mu.
func (d *deferred) submit(c *Cache) {
	if d.queued || len(d.next) == 0 {
		return
	}
	d.queued = true
	d.next, d.waiting = d.waiting[:0], d.next
	c.domain.DeferN(len(d.waiting), func() { d.expire(c) })
}

// expire is the callback: the grace period of everything in waiting is over, since
// nothing is added there after submit.
func (d *deferred) expire(c *Cache) {
	objs := d.waiting
	defer func() { // should a destructor end the goroutine, too
		d.pending.Add(-int64(len(objs)))
		d.mu.Lock()
		d.queued = false
		d.submit(c)
		d.mu.Unlock()
	}()
	n := source{c}.expire(objs)
	c.slabs.count(FreeSlowpath, n)
	c.slabs.freeBulk(objs[:n])
}
