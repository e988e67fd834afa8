package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub/internal/guard"
)

// A cache is instrumented if it has an Alloc or Free hook, InitOnAlloc or InitOnFree, or marks on
// its objects, as debug caches have, and in a build with a sanitizer: it calls onAlloc and onFree
// for every object, or does the same by other functions. Other caches pay nothing for it. Alloc is
// then a function of its own, and so is Free, or the filter of its sequence covers no pages, so
// that every object takes freeSlow, which calls onFree.
//
// A cache that is instrumented for its flags alone has sequences that clear objects (clearing), and
// calls onAlloc and onFree where these refuse. One that is instrumented for its hooks runs the
// sequence of a cache without them, behind the Free hook and before the Alloc hook. Hooks come and
// go (SetHooks); everything else is constant.

// instrumented reports whether the cache calls onAlloc and onFree.
func (c *Cache) instrumented() bool { return c.alwaysInstrumented() || c.hooked() }

// alwaysInstrumented reports whether the cache is instrumented, with hooks or without.
func (c *Cache) alwaysInstrumented() bool { return c.marks != nil || c.alwaysWatched() }

// alwaysWatched reports whether the cache is instrumented for another reason than its marks and
// hooks.
func (c *Cache) alwaysWatched() bool {
	return c.config.Flags&(InitOnAlloc|InitOnFree) != 0 || sanitized || c.debug() != nil
}

// onlyClears reports whether the cache is instrumented, apart from hooks, for InitOnAlloc or
// InitOnFree alone.
func (c *Cache) onlyClears() bool { return c.alwaysWatched() && c.marks == nil && !sanitized }

// clearing is the operations of a cache of which onlyClears is true. They are not in the Cache,
// whose words fill their lines: its own operations jump there.
type clearing struct {
	pop  percpu.PopZero
	free percpu.FreeZero // with InitOnFree
	push percpu.Free     // without
}

// operateClearing makes Alloc and Free sequences that clear objects. With InitOnFree alone the
// objects of sheaves are zero, and Alloc takes them as they are. FreeRCU leaves objects as they are
// until the end of their grace period, and is the same as in other caches.
func (c *Cache) operateClearing(pop *percpu.Pop, free *percpu.Free) {
	ops := new(clearing)
	switch {
	case c.config.Flags&InitOnAlloc != 0:
		ops.pop.Init(c.stacks, percpu.Main, 0, uintptr(c.config.Size), c.allocSlowCleared)
		pop.SetSlowOnly(ops.pop.Func())
	default:
		pop.Init(c.stacks, percpu.Main, c.allocSlowCleared)
	}
	main := c.freeRCU.ForStacks(c.stacks, percpu.Main)
	switch {
	case c.config.Flags&InitOnFree == 0:
		ops.push.Init(main, c.freeSlow)
		free.SetSlowOnly(ops.push.Func())
	case c.sheaves == nil:
		free.SetSlowOnly(c.freeSlow)
	default:
		ops.free.Init(main, owner.Of(c.id, 0), c.layout.size, c.freeSlow)
		free.SetSlowOnly(ops.free.Func())
	}
}

// keepsZero reports whether the objects in the cache's sheaves are all zero: with InitOnFree, which
// clears what is freed to a sheaf, where nothing else is done for an object. What a refill brings
// from slabs has its links cleared then (source.Refill).
func (c *Cache) keepsZero() bool {
	return c.sheaves != nil && c.config.Flags&(InitOnAlloc|InitOnFree) == InitOnFree &&
		(c.onlyClears() || c.marks != nil && c.marks.clears)
}

// clearsLinks reports whether the links of objects that come from slabs are cleared.
func (c *Cache) clearsLinks() bool { return c.layout.fpInside() && c.keepsZero() }

// allocSlowCleared is allocSlow in a cache of which onlyClears is true.
func (c *Cache) allocSlowCleared() (unsafe.Pointer, error) {
	p, err := c.allocSlow()
	if err == nil {
		c.prepare(p, 0)
	}
	return p, err
}

// allocInstrumented is Alloc of an instrumented cache.
func (c *Cache) allocInstrumented() (unsafe.Pointer, error) {
	for {
		p, err := c.popLooking()
		if err != nil || c.onAlloc(p, 0) {
			return p, err
		}
	}
}

// onAlloc is called for every object before the user gets it. It zeroes the object's first bytes,
// as many as zero says, and what the flags ask for (kernel: slab_post_alloc_hook). If the hook
// doesn't return, the object goes back to its slab. It
// returns false if the caller must take another object, which has been reported.
func (c *Cache) onAlloc(p unsafe.Pointer, zero uintptr) (ok bool) {
	if !c.prepare(p, zero) {
		return false
	}
	c.hookAlloc(p)
	return true
}

// hookAlloc calls the Alloc hook, if there is one. If it doesn't return, the object goes back.
func (c *Cache) hookAlloc(p unsafe.Pointer) {
	h := c.hooking.now.Load()
	if h.Alloc == nil {
		return
	}
	callback.Guard(
		func() { callback.Run(h.Alloc, c.object(p)) },
		func() { c.takeBack([]unsafe.Pointer{p}) })
	runtime.KeepAlive(h)
}

// hookFree asks the Free hook, if there is one, whether it keeps an object that its user frees. If
// the hook doesn't return, the object is freed to its slab.
func (c *Cache) hookFree(p unsafe.Pointer) (keep bool) {
	h := c.hooking.now.Load()
	if h.Free == nil {
		return false
	}
	callback.Guard(
		func() { keep = c.keeps(h, p) },
		func() { c.takeBack([]unsafe.Pointer{p}) })
	return keep
}

// prepareAll prepares several objects, which their user gets next, and replaces those that must not
// be handed out. If that fails, or a report doesn't return, all of them go back. Of the object that
// a report is about, the report takes care: it is in use, or has gone back.
func (c *Cache) prepareAll(objs []unsafe.Pointer) (err error) {
	n := 0
	undo := func() {
		c.takeBack(objs[:n])
		c.returnBulk(objs[min(n+1, len(objs)):])
	}
	callback.Guard(func() {
		for ; n < len(objs) && err == nil; n++ {
			for !c.prepare(objs[n], 0) {
				if objs[n], err = c.popLooking(); err != nil {
					return
				}
			}
		}
	}, undo)
	if err != nil {
		undo()
	}
	return err
}

// onAllocAll is onAlloc for several objects, of which those with marks are prepared elsewhere. If a
// hook doesn't return, lost gets those that a hook
// has returned for, and the others.
func (c *Cache) onAllocAll(objs []unsafe.Pointer, lost func(accepted, rest []unsafe.Pointer)) {
	for i := 0; i < len(objs) && c.marks == nil; i++ {
		c.prepare(objs[i], 0)
	}
	h := c.hooking.now.Load()
	if h.Alloc == nil {
		return
	}
	n := 0
	callback.Guard(func() {
		for ; n < len(objs); n++ {
			callback.Run(h.Alloc, c.object(objs[n]))
		}
	}, func() { lost(objs[:n], objs[n:]) })
	runtime.KeepAlive(h)
}

// prepare is onAlloc without the hook.
func (c *Cache) prepare(p unsafe.Pointer, zero uintptr) (ok bool) {
	if c.marks != nil {
		if c.marks.debug != nil {
			return c.beginDebug(p, zero)
		}
		if !c.markInUse(p) {
			return false
		}
	}
	c.prepareMemory(p, zero)
	return true
}

// prepareMemory is the part of onAlloc that concerns the object's memory.
func (c *Cache) prepareMemory(p unsafe.Pointer, zero uintptr) {
	if sanitized {
		acquireObject(p, c.layout)
	}
	if c.marks != nil && c.marks.hardened && c.config.Flags&InitOnFree != 0 {
		c.checkCleared(uintptr(p))
	}
	if c.config.Flags&InitOnAlloc != 0 {
		zero = uintptr(c.config.Size)
	}
	if zero > 0 {
		mem.Zero(uintptr(p), zero)
	}
	if c.config.Flags&InitOnFree != 0 && c.layout.fpInside() {
		// The rest has been zero since the object was freed.
		mem.Zero(uintptr(p)+c.layout.fp, freePtrSize)
	}
}

// takeBack frees objects that count as allocated, but that no user has got and no hook has returned
// for.
func (c *Cache) takeBack(objs []unsafe.Pointer) {
	for _, p := range objs {
		c.scrub(p)
	}
	c.returnBulk(objs)
}

// onFree is called for an object that a user frees. If it returns true a hook keeps the object, and
// the caller must not free it (kernel: slab_free_hook). If the hook doesn't return, the object is
// freed to its slab.
func (c *Cache) onFree(p unsafe.Pointer) (keep bool) {
	if !c.instrumented() {
		return false
	}
	if keep = c.hookFree(p); !keep {
		c.scrub(p)
	}
	return keep
}

// keeps asks a Free hook whether it keeps an object, which is in use again if it does. The object
// is charged to no Account any more.
func (c *Cache) keeps(h *hookSet, p unsafe.Pointer) bool {
	if sanitized {
		exposeObject(p, c.layout) // of what Malloc returned all bytes are the hook's
	}
	c.limitDebug(p, c.layout.size) // what its user has overwritten is found before
	c.uncharge(p)
	keep := callback.Ask(h.Free, c.object(p))
	runtime.KeepAlive(h)
	if keep && c.marks != nil {
		c.slabs.SetInUse(p)
	}
	if keep && c.guards() {
		guard.NoteKept(uintptr(p))
	}
	return keep
}

// onFreeAll is onFree for objects whose use has ended already: after a grace period, or in a
// prefilled sheaf that is returned. It moves those that no hook keeps to the front and returns
// their number. scrub is c.scrub, or what does as much for objects that
// no user has held. If a hook doesn't return, lost gets those that are to be freed, the hook's own
// object included, and those that no hook has been called for.
func (c *Cache) onFreeAll(objs []unsafe.Pointer, scrub func(unsafe.Pointer), lost func(free, rest []unsafe.Pointer)) (n int) {
	h := c.hooking.now.Load()
	if h.Free == nil {
		for _, p := range objs {
			scrub(p)
		}
		return len(objs)
	}
	next := 0
	callback.Guard(func() {
		for next < len(objs) {
			p := objs[next]
			next++ // first: it is called once, whatever it does
			if c.keeps(h, p) {
				continue
			}
			scrub(p)
			objs[n] = p
			n++
		}
	}, func() {
		objs[n] = objs[next-1]
		scrub(objs[n])
		lost(objs[:n+1], objs[next:])
	})
	return n
}

// scrub is the part of onFree that concerns the object's memory, and its charge and mark.
func (c *Cache) scrub(p unsafe.Pointer) {
	d := c.debug()
	if c.marks != nil && d == nil {
		c.uncharge(p)
		c.slabs.SetFree(p)
	}
	if d != nil {
		c.endDebug(p)
		return
	}
	if c.config.Flags&InitOnFree != 0 {
		c.wipe(p)
	}
	c.release(p)
}

// wipe clears an object for InitOnFree, of which its user may have had a part alone.
func (c *Cache) wipe(p unsafe.Pointer) {
	if sanitized {
		exposeObject(p, c.layout)
	}
	c.clearFreed(uintptr(p))
}

// release tells a sanitizer of the build that an object is free.
func (c *Cache) release(p unsafe.Pointer) {
	switch {
	case !sanitized:
	case c.config.Flags&TypesafeByRCU != 0: // readers may still read it
		shareObject(p)
	default:
		releaseObject(p, c.layout)
	}
}

// clearFreed zeroes an object for InitOnFree. Without sheaves it spares the free pointer, which the
// slab writes in the next step. So the link of an object that is freed twice stays, until the slab
// has found out.
func (c *Cache) clearFreed(obj uintptr) {
	if c.sheaves != nil || !c.layout.fpInside() {
		mem.Zero(obj, c.layout.written())
		return
	}
	mem.Zero(obj, c.layout.fp)
	if behind := c.layout.fp + freePtrSize; behind < c.layout.size {
		mem.Zero(obj+behind, c.layout.size-behind)
	}
}

// finishFree frees objects whose use has ended, and is counted, when a hook has not returned. Those
// of free go to their slabs. Those of rest have yet to get their hooks: they go to FreeDeferred's
// list, which another goroutine drains. It is called while the goroutine unwinds.
func (c *Cache) finishFree(free, rest []unsafe.Pointer) {
	for _, p := range rest {
		if c.marks != nil {
			c.slabs.SetFree(p) // a drain asks no more
		}
		c.deferFree.putBack.Add(1)
		c.listDeferred(p)
	}
	c.count(reclaimed, len(free))
	c.toSlabs(free)
}

func (c *Cache) object(p unsafe.Pointer) hooks.Object {
	return hooks.Object{Cache: c.name, Addr: uintptr(p), Size: c.config.Size,
		Node: c.slabs.Arena().NodeOf(uintptr(p))}
}
