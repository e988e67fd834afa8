package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/slub/internal/failslab"
	"github.com/slubd/slubd/slub/internal/slab"
)

// Free frees an object. The caller must not use it afterwards. nil is ignored.
//
// Every call checks that p is the start of an object of this cache, or of a cache that shares its
// slabs (see Merge). If it is not, Free leaves the memory alone and calls
// Hooks.Report; without that hook it panics with a *hooks.Report.
//
// Any goroutine, whichever allocated the object, but not a constructor, destructor or hook: these
// call FreeDeferred. The common case is one restartable sequence, which costs about as much as a
// function call. Otherwise Free may give a sheaf's objects to their slabs, wait for a lock that is
// held briefly, and give pages back to the kernel. (Kernel: kmem_cache_free.)
func (c *Cache) Free(p unsafe.Pointer) { c.free.Func()(p) }

// freeSlow is Free when the CPU's stack refuses the object.
func (c *Cache) freeSlow(p unsafe.Pointer) {
	if ops := c.ops(); len(ops.ranks) > 0 {
		ops.ranks[0].free.Func()(p)
		return
	}
	c.freeInGo(p)
}

// freeInGo is Free when all of the CPU's stacks refuse the object: the sheaf for its node is full,
// or was not used yet, the object is of a slab of lower order, or p is not an object of the cache.
func (c *Cache) freeInGo(p unsafe.Pointer) {
	if o := c.claimOrReport(p, slab.Free); o != 0 && !c.onFree(p) {
		c.freeChecked(p, o)
	}
}

// ownerOrReport returns the owner of an object of this cache without marks, or 0 after a report.
func (c *Cache) ownerOrReport(p unsafe.Pointer) owner.Word {
	filter := &c.freeRCU.Filter
	if c.marks != nil {
		filter = &c.marks.push.Filter
	}
	if o := filter.Owner(p); o.ID() == c.id && !o.HasFlags() {
		return o
	}
	return c.verify(p)
}

// freeChecked frees an object that ownerOrReport has checked and the hooks have seen.
func (c *Cache) freeChecked(p unsafe.Pointer, o owner.Word) {
	if c.isAlone(p) {
		c.freeAlone(p, false)
		return
	}
	if c.sheaves != nil && c.tryFree(p, o.Node()) {
		if o.Node() != c.localNode() {
			c.makeNodeOps()
		}
		return
	}
	c.delay(failslab.Flush)
	c.count(FreeSlowpath, 1)
	c.toSlab(p)
}

// tryFree puts an object into a sheaf, if there is room. That may flush another sheaf. If a report
// about what is flushed doesn't return, the object goes to its slab.
func (c *Cache) tryFree(p unsafe.Pointer, node int) (ok bool) {
	callback.Guard(func() { ok = c.sheaves.TryFree(p, node) }, func() {
		c.count(FreeSlowpath, 1)
		c.toSlab(p)
	})
	return ok
}

// verify checks a pointer as thoroughly as the slab's descriptor allows, and returns its owner
// without marks, or 0 after a report.
func (c *Cache) verify(p unsafe.Pointer) owner.Word {
	if p == nil {
		return 0
	}
	o, r := c.lookUp(p)
	if r != nil {
		return c.refuse(r)
	}
	return o
}

// lookUp returns the owner without marks of an object of this cache, or a report that says what p
// is instead.
func (c *Cache) lookUp(p unsafe.Pointer) (owner.Word, *hooks.Report) {
	a, addr := c.slabs.Arena(), uintptr(p)
	page, ok := a.PageOf(addr)
	if !ok {
		return 0, explain(p).report(c.name, p)
	}
	o := a.Owner(page)
	head, _, ok := a.Head(page)
	if o.ID() != c.id || !ok {
		return 0, explain(p).report(c.name, p)
	}
	start := c.slabs.Start(head)
	off, objects := addr-start, c.slabs.ObjectsIn(head)
	if off%c.layout.slot != 0 || off/c.layout.slot >= objects {
		r := c.explain(addr, start, objects*c.layout.slot).report(c.name, p)
		r.Kind, r.Owner = hooks.MisalignedPointer, ""
		return 0, r
	}
	return o.WithoutFlags(), nil
}

func (c *Cache) refuse(r *hooks.Report) owner.Word {
	c.count(refused, 1)
	sayClosed(r, "the cache is", c.closed.Load())
	addHistory(r)
	c.fire(r)
	return 0
}

// sayClosed adds the most likely reason to a report: Close has given the slabs back, and their
// pages have new owners.
func sayClosed(r *hooks.Report, subject string, closed bool) {
	if !closed {
		return
	}
	if r.Detail != "" {
		r.Detail += "; "
	}
	r.Detail += subject + " closed"
}

// reportTwice reports an object that is freed although it is free.
func (c *Cache) reportTwice(obj, slab uintptr) {
	c.count(kept, 1)
	r := hooks.NewReport(hooks.DoubleFree, c.primary().name, obj, "the last object freed to its slab is this one")
	r.Slab = slab
	c.fire(r)
}

// reportCorrupt reports a free pointer that leads out of its slab. The objects behind it can't be
// found any more and count as in use.
func (c *Cache) reportCorrupt(obj, slab uintptr) {
	r := hooks.NewReport(hooks.FreelistCorrupt, c.primary().name, obj, "free pointer at +%d reads %#x", c.layout.fp, c.slabs.StoredLink(obj))
	r.Slab = slab
	c.fire(r)
}
