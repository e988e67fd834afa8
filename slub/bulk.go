package slub

import "unsafe"

// AllocBulk fills dst with objects, or leaves it nil and returns an error. What the
// sheaves can't give comes straight from slabs. Errors as Alloc. (Kernel:
// kmem_cache_alloc_bulk.)
func (c *Cache) AllocBulk(dst []unsafe.Pointer) error {
	if c.closed.Load() {
		clear(dst)
		return c.failClosed()
	}
	c.drain(drainMost)
	got := 0
	if c.sheaves != nil {
		got = c.sheaves.AllocBulk(dst)
	}
	if rest := dst[got:]; len(rest) > 0 {
		c.rcuQueue.poll()
		if err := c.takeSlabs(c.localNode(), rest, false); err != nil {
			c.returnBulk(dst[:got])
			clear(dst)
			return err
		}
		c.slabs.count(AllocSlowpath, len(rest))
	}
	if c.wrapped() {
		for _, p := range dst {
			c.allocated(p, false)
		}
	}
	return nil
}

// returnBulk undoes what the sheaves gave to an AllocBulk that failed.
func (c *Cache) returnBulk(objs []unsafe.Pointer) {
	c.slabs.count(FreeSlowpath, len(objs))
	c.slabs.freeBulk(objs)
}

// FreeBulk frees all objects of ps, with the checks of Free, and leaves ps in
// another order. (Kernel: kmem_cache_free_bulk.)
func (c *Cache) FreeBulk(ps []unsafe.Pointer) {
	local := ownerOf(c.id, c.localNode())
	ps, front := c.partition(ps, local)
	put := 0
	if c.sheaves != nil {
		put = c.sheaves.FreeBulk(ps[:front], uint32(local))
	}
	if rest := ps[put:]; len(rest) > 0 {
		c.slabs.count(FreeSlowpath, len(rest))
		c.slabs.freeBulk(rest)
	}
}

// partition checks ps, runs the hooks, and moves the objects of owner local to the
// front, objects of other nodes behind them; what may not be freed is dropped. It
// returns what is left and how many are at the front. No array of its own is
// needed, and so none can overflow (the kernel lost objects that way, af9ea231c0b4).
func (c *Cache) partition(ps []unsafe.Pointer, local owner) (left []unsafe.Pointer, front int) {
	// ps[:front] are local, ps[front:end] unseen, ps[end:] remote.
	end := len(ps)
	for front = c.free.Prefix(ps, uint32(local)); front < end; {
		p := ps[front]
		o := owner(c.free.Owner(p))
		if o != local {
			o = c.verify(p)
		}
		if o != 0 && !c.freed(p) {
			if o == local {
				front++
				continue
			}
			end--
			ps[front], ps[end] = ps[end], p
			continue
		}
		end--
		last := len(ps) - 1
		ps[front], ps[end] = ps[end], ps[last]
		ps = ps[:last]
	}
	return ps, front
}
