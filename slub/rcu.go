package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// FreeRCU frees an object once every reader of the cache's Domain that may hold it
// has reported a quiescent state. The object keeps its content until then; after
// that RCUDtor is called, on some goroutine, and it can be allocated again. The
// caller has unlinked the object from whatever readers find it by. Checks as Free;
// nil is ignored.
//
// It waits in two cases. When as much waits for grace periods as RCUHardLimit allows, it
// waits until there is room again, or for RCUMaxWait, by default as long as others have had
// to before, and then goes beyond the limit. When
// neither the kernel nor the cache's reserve has memory to queue the object in, it waits
// for the grace period itself, or a tenth of a second. Where neither may be, in hooks and
// destructors, by an online reader, or holding what a reader or RCUDtor may want, call
// FreeRCUNoWait.
//
// Objects gather in the CPU's rcu_free sheaf, which goes through one grace period
// as a whole. (Kernel: kfree_rcu through __kfree_rcu_sheaf.)
func (c *Cache) FreeRCU(p unsafe.Pointer) { c.freeRCU.Func()(p) }

// FreeRCUNoWait is FreeRCU for where nothing may be waited for: it goes beyond RCUHardLimit
// at once. That memory stays bounded is then the caller's care: an event loop that is an
// online reader reports between its rounds. It may be called in hooks and destructors, of
// the cache's own too. Somewhat slower than FreeRCU.
func (c *Cache) FreeRCUNoWait(p unsafe.Pointer) { c.freeAfterGrace(p, false) }

// freeRCUSlow is what FreeRCU comes to when the CPU's rcu_free sheaf is missing or
// would be full, or when the object can't go there: it lies on another node, in a
// slab of lower order, or isn't ours.
func (c *Cache) freeRCUSlow(p unsafe.Pointer) { c.freeAfterGrace(p, true) }

// freeAfterGrace checks an object and has it wait in a sheaf, or else in the queue.
func (c *Cache) freeAfterGrace(p unsafe.Pointer, mayWait bool) {
	o := c.checked(p)
	if o == 0 {
		return
	}
	if sanitized {
		deferObject(p)
	}
	// Remote objects are not counted as refused, as the sheaf never saw them (kernel:
	// kfree_rcu_sheaf looks at the node before __kfree_rcu_sheaf counts).
	at := o.node()
	local := at == c.localNode()
	if local && c.sheaves != nil && c.sheaves.FreeRCU(p, uint32(o), mayWait) {
		return
	}
	if local && c.sheaves == nil {
		c.slabs.count(FreeRCUSheafFail, 1)
	}
	c.rcuQueue.add(p, at, c.layout.slot, mayWait)
}

// initQueue makes the queue for what no sheaf takes.
func (c *Cache) initQueue() {
	q := &c.rcuQueue
	q.domain, q.backlog, q.delay = c.domain, c.backlog.Backlog, c.config.RCUDelay
	q.end, q.lost = c.endQueued, c.reportUnlinked
	if !c.layout.fpInside() {
		q.linked = c.slabs
	}
	q.init(len(c.slabs.nodes))
}

// endQueued ends the life of objects whose grace period is over.
func (c *Cache) endQueued(objs []unsafe.Pointer) {
	n := source{c}.expire(objs)
	c.slabs.count(FreeSlowpath, n)
	c.slabs.freeBulk(objs[:n])
}

// reportUnlinked tells about an object whose link to the next one that waits leads
// astray. Those behind it can't be found any more, and are never free.
func (c *Cache) reportUnlinked(obj uintptr) {
	hooks.NewReport(hooks.FreelistCorrupt, c.eldest().name, obj, "what was given to FreeRCU before it is lost").Fire(&c.config.Hooks)
}
