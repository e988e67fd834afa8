package slub

import (
	"context"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/freequeue"
	"github.com/slubd/slubd/slub/internal/slab"
)

// FreeRCU frees an object after a grace period of the cache's Domain: when every reader that may
// hold it has reported a quiescent state. Before the call the caller removes the object from every
// structure in which readers find it. The object keeps its content until the grace period is over;
// then RCUDtor is called, on any goroutine, and the object can be allocated again. The pointer is
// checked as by Free; nil is ignored.
//
// Objects gather in the CPU's rcu_free sheaf, which waits for one grace period as a whole. The
// common case is one restartable sequence, as for Free.
//
// FreeRCU never holds its caller up for long. At RCUHardLimit it waits until there is room, at
// most for RCUMaxWait, which is a millisecond unless the config says otherwise; once such a
// wait has run out, no call waits again until the backlog is below the limit. What is then freed
// beyond the limit is queued and counted, and the arena's limit is what bounds memory: an
// allocation that fails there says how much waits for grace periods, and for which reader. If
// neither the kernel nor the reserve has memory to queue the object, FreeRCU waits for the grace
// period, up to a tenth of a second. Call FreeRCUContext where the caller should be slowed down to
// what readers allow, and FreeRCUNoWait in hooks and destructors, in an online reader, and while
// holding a lock that a reader or RCUDtor may want. Any other goroutine may call FreeRCU. (Kernel:
// kfree_rcu, by __kfree_rcu_sheaf.)
func (c *Cache) FreeRCU(p unsafe.Pointer) { c.freeRCU.Func()(p) }

// FreeRCUNoWait is a FreeRCU that never waits: it exceeds RCUHardLimit at once. The caller has to
// see to it that memory stays bounded; an event loop that is an online reader, for example,
// reports a quiescent state between its rounds. Any goroutine, also in the cache's own hooks and
// destructor. It is somewhat slower than FreeRCU.
func (c *Cache) FreeRCUNoWait(p unsafe.Pointer) { c.freeAfterGrace(p, backlog.NoWait) }

// FreeRCUContext is a FreeRCU for callers that want to be slowed down: at RCUHardLimit it waits
// for room as long as ctx lasts, whatever RCUMaxWait says. The object is freed in any case, and
// must not be freed again: when ctx ends, it goes beyond the limit and is counted as an overrun.
// Any goroutine that may call FreeRCU; an online reader of the Domain would wait for itself until
// ctx ends. It costs as much as FreeRCUNoWait where there is room.
func (c *Cache) FreeRCUContext(ctx context.Context, p unsafe.Pointer) {
	c.freeAfterGrace(p, backlog.WaitFor(ctx))
}

// freeRCUSlow is FreeRCU when the CPU's stack refuses the object.
func (c *Cache) freeRCUSlow(p unsafe.Pointer) {
	if ops := c.ops(); len(ops.ranks) > 0 {
		ops.ranks[0].freeRCU.Func()(p)
		return
	}
	c.freeRCUInGo(p)
}

// freeRCUInGo is FreeRCU when the CPU has no rcu_free sheaf for the object's node, when it would be
// full with the object, or when the object is of a slab of lower order, or not of the cache.
func (c *Cache) freeRCUInGo(p unsafe.Pointer) { c.freeAfterGrace(p, backlog.MayWait) }

// freeAfterGrace checks an object and puts it into the rcu_free sheaf, or otherwise into the
// queue. At the hard limit it waits as w says.
func (c *Cache) freeAfterGrace(p unsafe.Pointer, w backlog.Wait) {
	if o := c.claimOrReport(p, slab.GivenRCU); o != 0 {
		c.giveRCU(p, o, w)
	}
}

// giveRCU is freeAfterGrace for an object that is checked, and claimed, with the owner word o.
func (c *Cache) giveRCU(p unsafe.Pointer, o owner.Word, w backlog.Wait) {
	if sanitized {
		deferObject(p)
	}
	at := o.Node()
	switch {
	case c.isAlone(p): // the queue gives it back to its slab
		if !c.noteGuardedFree(p) {
			return
		}
		if c.sheaves != nil || at == c.localNode() {
			c.count(FreeRCUSheafFail, 1)
		}
	case c.sheaves != nil:
		if c.sheaves.TryFreeRCU(p, at, w) {
			if at != c.localNode() {
				c.makeNodeOps()
			}
			return
		}
	case at == c.localNode():
		// Objects of other nodes don't count here (kernel: kfree_rcu_sheaf tests the node before
		// __kfree_rcu_sheaf counts).
		c.count(FreeRCUSheafFail, 1)
	}
	c.freeQueue.Add(p, at, int64(c.layout.slot), w)
}

// initQueue sets up the queue for objects that no sheaf takes.
func (c *Cache) initQueue() {
	cfg := freequeue.Config{Domain: c.domain, Backlog: c.backlog.Backlog, Delay: c.config.RCUDelay,
		Reclaim: c.reclaimQueued, Lost: c.reportUnlinked, Nodes: c.Arena().Topology().NodeCount()}
	if cfg.Delay == 0 {
		cfg.Delay = sheaves.DefaultDelay
	}
	if !c.layout.fpInside() {
		cfg.Links = c.slabs
	}
	c.freeQueue.Init(cfg)
}

// reclaimQueued destroys objects of the queue and frees them to their slabs.
func (c *Cache) reclaimQueued(objs []unsafe.Pointer) {
	n := c.endLives(objs)
	c.count(reclaimed, n)
	c.toSlabs(objs[:n])
	c.reportFound()
}

// reportUnlinked reports an object in the queue whose link to the next one is broken. The objects
// behind it can't be found any more, and are never freed.
func (c *Cache) reportUnlinked(obj uintptr) {
	c.fire(hooks.NewReport(hooks.FreelistCorrupt, c.primary().name, obj, "what was given to FreeRCU before it is lost"))
}
