package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/slub/internal/failslab"
	"github.com/slubd/slubd/slub/internal/slab"
)

// AllocBulk fills dst with objects, or sets all of dst to nil and returns an error. It takes
// objects from the CPU's sheaves and the barn first and the rest directly from slabs, a few
// nanoseconds for each. If a constructor, destructor or hook in it panics, the objects go back, and
// dst is nil. Any goroutine. Errors: as Alloc. (Kernel: kmem_cache_alloc_bulk.)
func (c *Cache) AllocBulk(dst []unsafe.Pointer) error {
	if c.closed.Load() {
		clear(dst)
		return c.failClosed()
	}
	if err := c.injected(len(dst)); err != nil {
		clear(dst)
		return err
	}
	if !c.deferFree.empty() {
		callback.Guard(func() { c.drain(drainMost) }, func() { clear(dst) })
	}
	got, picked, guardsOnly := 0, false, c.guardsOnly()
	switch {
	case c.sheaves == nil:
	case guardsOnly:
		got, picked = c.sheaves.AllocBulkPicks(dst)
	default:
		got = c.sheaves.AllocBulk(dst)
	}
	if got > 0 && c.checksSheaves() {
		got = c.keepObjects(dst, got)
		picked = picked && got > 0
	}
	if got < len(dst) {
		if err := c.fillBulk(dst, got); err != nil {
			return err
		}
	}
	if c.sampler != nil && (picked || got < len(dst) || !guardsOnly) {
		c.sampleBulk(dst, got, picked)
	}
	if c.marks != nil {
		var err error
		callback.Guard(func() { err = c.prepareAll(dst) }, func() { clear(dst) })
		if err != nil {
			clear(dst)
			return err
		}
	}
	if c.instrumented() {
		c.onAllocAll(dst, func(accepted, rest []unsafe.Pointer) {
			defer clear(dst)
			defer c.takeBack(rest)
			callback.Each(accepted, c.FreeDeferred)
		})
	}
	return nil
}

// fillBulk is the part of AllocBulk that takes objects from slabs, when the sheaves have given got.
// Without success it gives these back.
func (c *Cache) fillBulk(dst []unsafe.Pointer, got int) (err error) {
	callback.Guard(func() {
		c.freeQueue.Poll()
		err = c.takeSlabs(c.localNodeNow(), dst[got:], false)
	}, func() {
		defer clear(dst)
		c.returnBulk(dst[:got])
	})
	if err != nil {
		defer clear(dst) // also if a report does not return
		c.returnBulk(dst[:got])
		return err
	}
	c.count(AllocSlowpath, len(dst)-got)
	return nil
}

// returnBulk frees objects that count as allocated, but that no user has got.
func (c *Cache) returnBulk(objs []unsafe.Pointer) {
	c.count(FreeSlowpath, len(objs))
	c.slabs.FreeBulk(objs)
}

// FreeBulk frees all objects of ps, with the checks of Free for each, and leaves ps in another
// order. nil elements are ignored. Any goroutine. (Kernel: kmem_cache_free_bulk.)
func (c *Cache) FreeBulk(ps []unsafe.Pointer) {
	c.freeBulk(ps, false)
	c.reportFound()
}

// freeBulk is FreeBulk, or with drained set the same for objects of FreeDeferred, whose use has
// ended before. If a hook or a report doesn't return, all objects of ps that are not refused are
// free, or in FreeDeferred's list.
func (c *Cache) freeBulk(ps []unsafe.Pointer, drained bool) {
	local := owner.Of(c.id, c.localNode())
	front := 0
	if !c.hooked() {
		front = c.freeRCU.Prefix(ps, local)
	}
	if c.alwaysInstrumented() {
		for _, p := range ps[:front] {
			c.scrub(p)
		}
	}
	if front < len(ps) {
		of := fromUser
		if drained {
			of = fromList
		}
		ps, front = c.partition(ps, front, local, of)
	}
	if c.sheaves != nil {
		ps = c.putBulk(ps, front, local.Node(), drained)
	}
	if len(ps) > 0 {
		c.freeToSlabs(ps, drained)
	}
}

// putBulk puts checked objects into the sheaves, of which the first front are of the given node,
// and returns the rest.
func (c *Cache) putBulk(ps []unsafe.Pointer, front, node int, drained bool) (rest []unsafe.Pointer) {
	put := 0
	if drained {
		put = c.sheaves.PutBulk(ps[:front], node)
	} else {
		put = c.sheaves.FreeBulk(ps[:front], node)
	}
	rest = ps[put:]
	if remote := ps[front:]; len(remote) > 0 {
		left := len(c.sheaves.FreeBulkRemote(remote, !drained))
		put += len(remote) - left
		rest = rest[:len(rest)-len(remote)+left]
	}
	if drained {
		c.count(drainedFast, put)
	}
	return rest
}

// freeToSlabs frees checked objects directly to their slabs.
func (c *Cache) freeToSlabs(objs []unsafe.Pointer, drained bool) {
	if drained {
		c.count(reclaimed, len(objs))
	} else {
		c.count(FreeSlowpath, len(objs))
	}
	c.delay(failslab.Flush)
	c.toSlabs(objs)
}

// partition checks ps from the index front on and calls the hooks. It moves objects with the owner
// word local to the front, where those before it are, objects of other nodes behind them, and drops
// what must not be freed. It returns the rest of ps and the number of objects at the front. It
// works in place; the kernel's function had an array of fixed size, which overflowed and lost
// objects (af9ea231c0b4).
func (c *Cache) partition(ps []unsafe.Pointer, front int, local owner.Word, of origin) ([]unsafe.Pointer, int) {
	drained := of != fromUser
	// ps[:front] are local, ps[front:end] not looked at yet, ps[end:] of other nodes.
	end, keeps := len(ps), 0
	asked := false // a hook has been called for ps[front] and has not returned
	callback.Guard(func() {
		for front < end {
			o := c.ownerOrReport(ps[front])
			p := ps[front] // after a report, as in look
			free := o != 0 && (drained || c.claim(p, o, slab.Free))
			if free && of != fromLocal && c.instrumented() {
				asked = true
				if free = !c.askFree(p); !free {
					keeps++
				}
				asked = false
			}
			if free && c.isAlone(p) {
				c.freeAlone(p, drained)
				free = false
			}
			if free && o == local {
				front++
				continue
			}
			end--
			if free {
				ps[front], ps[end] = ps[end], p
				continue
			}
			last := len(ps) - 1
			ps[front], ps[end] = ps[end], ps[last]
			ps = ps[:last]
		}
	}, func() {
		rest := ps[front+1 : end]
		if asked {
			c.scrub(ps[front])
			front++
		}
		c.finishBulk(ps[:front], rest, ps[end:], keeps, drained)
	})
	c.countKept(keeps, drained)
	return ps, front
}

// An origin says where the objects of a partition come from.
type origin uint8

const (
	fromUser  origin = iota // the caller, which frees them
	fromList                // FreeDeferred's list: their use has ended, and no hook has seen it
	fromLocal               // a Local, where they were free: no hook is to see them
)

// askFree calls the Free hook, if there is one, and scrubs the object unless the hook keeps it.
func (c *Cache) askFree(p unsafe.Pointer) (keep bool) {
	if h := c.hooking.now.Load(); h.Free != nil && c.keeps(h, p) {
		return true
	}
	c.scrub(p)
	return false
}

// countKept counts objects that a hook keeps. If their use had ended, they are in use again.
func (c *Cache) countKept(n int, drained bool) {
	if n > 0 && drained {
		c.count(kept, n)
	}
}

// finishBulk frees what a freeBulk has in its hands if a hook or a report doesn't return. local and
// remote have been checked; rest has not, and waits in FreeDeferred's list for its hooks.
func (c *Cache) finishBulk(local, rest, remote []unsafe.Pointer, keeps int, drained bool) {
	c.countKept(keeps, drained)
	defer c.freeToSlabs(local, drained)
	defer c.freeToSlabs(remote, drained)
	if drained {
		c.finishFree(nil, rest)
	} else {
		callback.Each(rest, c.FreeDeferred)
	}
}
