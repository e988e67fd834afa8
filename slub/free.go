package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/text"
)

// Free gives an object back. The caller must not touch it afterwards. nil is
// ignored.
//
// Every call checks that p is the start of an object of this cache, or of one that shares
// its slabs (NoMerge keeps caches apart). A pointer that isn't is reported to Hooks.Report, or by a panic with a *hooks.Report, and left
// alone. (Kernel: kmem_cache_free.)
func (c *Cache) Free(p unsafe.Pointer) { c.free.Func()(p) }

// freeSlow is what Free comes to when the CPU's stack refuses: main is full, the
// object belongs to another node or to a slab of lower order, or p is not ours.
func (c *Cache) freeSlow(p unsafe.Pointer) {
	if o := c.checked(p); o != 0 && !c.freed(p) {
		c.freeChecked(p, o)
	}
}

// checked returns the owner of an object of this cache without marks, or 0 after a report.
func (c *Cache) checked(p unsafe.Pointer) owner {
	if o := owner(c.free.Owner(p)); o.id() == c.id && !o.careful() {
		return o
	}
	return c.verify(p)
}

// freeChecked frees an object that has passed verify and the hooks.
func (c *Cache) freeChecked(p unsafe.Pointer, o owner) {
	if c.sheaves != nil && c.sheaves.Free(p, uint32(o)) {
		return
	}
	c.slabs.count(FreeSlowpath, 1)
	c.slabs.free(uintptr(p))
}

// verify checks a pointer as thoroughly as the slab's descriptor allows, and
// returns its owner without marks, or 0 after a report.
func (c *Cache) verify(p unsafe.Pointer) owner {
	if p == nil {
		return 0
	}
	a, addr := c.slabs.arena, uintptr(p)
	page, ok := a.PageOf(addr)
	if !ok {
		return c.refuse(hooks.NewReport(hooks.ForeignPointer, c.name, addr, "outside arena %#x-%#x", a.Base(), a.Addr(a.Pages())))
	}
	o := owner(a.Owner(page))
	head, order, ok := a.Head(page)
	if o == 0 || !ok {
		return c.refuse(hooks.NewReport(hooks.ForeignPointer, c.name, addr, "its page holds no slab; if it ever was an object, its slab has been given back"))
	}
	slab := a.Addr(head)
	if o.id() != c.id {
		r := hooks.NewReport(hooks.WrongCache, c.name, addr, "")
		r.Slab = slab
		if other := caches.find(o); other != nil {
			r.Owner = other.name
		}
		return c.refuse(r)
	}
	off, objects := addr-slab, mem.PageSize<<order/c.layout.slot
	if off%c.layout.slot != 0 || off/c.layout.slot >= objects {
		r := hooks.NewReport(hooks.MisalignedPointer, c.name, addr, "%s into an object of %d", text.Count(off%c.layout.slot, "byte", "bytes"), c.layout.size)
		r.Slab = slab
		return c.refuse(r)
	}
	return o.plain()
}

func (c *Cache) refuse(r *hooks.Report) owner {
	c.slabs.count(refused, 1)
	sayClosed(r, "the cache is", c.closed.Load())
	r.Fire(&c.config.Hooks)
	return 0
}

// sayClosed adds to a report what most likely explains it: slabs go back at Close, and soon
// belong to others.
func sayClosed(r *hooks.Report, who string, closed bool) {
	if !closed {
		return
	}
	if r.Detail != "" {
		r.Detail += "; "
	}
	r.Detail += who + " closed"
}

// reportTwice tells about an object that is freed although it is free.
func (c *Cache) reportTwice(obj uintptr, s slabRef) {
	r := hooks.NewReport(hooks.DoubleFree, c.eldest().name, obj, "its slab was given it just before")
	r.Slab = s.addr
	r.Fire(&c.config.Hooks)
}

// reportCorrupt tells about a free pointer that leads out of its slab. The objects
// behind it can't be found any more and count as in use.
func (c *Cache) reportCorrupt(obj uintptr, s slabRef) {
	r := hooks.NewReport(hooks.FreelistCorrupt, c.eldest().name, obj, "free pointer at +%d reads %#x", c.layout.fp, *mem.At[uint64](obj + c.layout.fp))
	r.Slab = s.addr
	r.Fire(&c.config.Hooks)
}
