package slub

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// Free gives an object back. The caller must not touch it afterwards. nil is
// ignored.
//
// Every call checks that p is the start of an object of this cache. A pointer that
// isn't is reported to Hooks.Report, or by a panic with a *hooks.Report, and left
// alone. (Kernel: kmem_cache_free.)
func (c *Cache) Free(p unsafe.Pointer) { c.push(c.slots, p, c.ownerOf(p)) }

// ownerOf returns the owner word of p's page if p is where an object of this
// cache could start, else 0, which no CPU's stack accepts. The stack compares the
// word with its own, and so checks cache and node in one.
func (c *Cache) ownerOf(p unsafe.Pointer) uint32 {
	off := uintptr(p) - c.base
	if page := off >> mem.PageShift; page < c.pages && c.startsObject(off&c.mask) {
		return *(*uint32)(unsafe.Add(c.owners, page*4))
	}
	return 0
}

// startsObject reports whether an object starts off bytes into a slab, in one
// multiplication (after Lemire, Kaser and Kurz, "Faster remainder by direct
// computation", 2019). With magic = ceil(2^64/slot) the product wraps to k*r for
// off = k*slot, where r = magic*slot - 2^64 < slot, and to at least magic for all
// others. limit is perSlab*r, so that the unused bytes at the slab's end fail too; for
// powers of two r is 0 and there are none.
func (c *Cache) startsObject(off uintptr) bool { return uint64(off)*c.magic < c.limit }

// divider computes magic and limit.
func divider(slot uintptr, perSlab int) (magic, limit uint64) {
	magic = math.MaxUint64/uint64(slot) + 1
	return magic, max(1, uint64(perSlab)*(magic*uint64(slot)))
}

// freeSlow is what Free comes to when the CPU's stack refuses: main is full, the
// object belongs to another node or to a slab of lower order, or p is not ours.
func (c *Cache) freeSlow(_ uintptr, p unsafe.Pointer, own uint32) {
	if ownerID(own) != c.id || own&careful != 0 {
		if own = c.verify(p); own == 0 {
			return
		}
	}
	if !c.freed(p) {
		c.freeChecked(p, own)
	}
}

// freeChecked frees an object that has passed verify and the hooks.
func (c *Cache) freeChecked(p unsafe.Pointer, own uint32) {
	if c.sheaves != nil && c.sheaves.Free(p, own) {
		return
	}
	c.slabs.count(FreeSlowpath, 1)
	c.slabs.free(uintptr(p))
}

// verify checks a pointer as thoroughly as the slab's descriptor allows, and
// returns its owner word without marks, or 0 after a report.
func (c *Cache) verify(p unsafe.Pointer) uint32 {
	if p == nil {
		return 0
	}
	a, addr := c.slabs.arena, uintptr(p)
	page := (addr - a.Base()) >> mem.PageShift
	if addr < a.Base() || page >= uintptr(a.Pages()) {
		return c.refuse(hooks.NewReport(hooks.ForeignPointer, c.name, addr, "outside arena %#x-%#x", a.Base(), a.Addr(a.Pages())))
	}
	word := a.Owner(uint32(page))
	head, order, ok := a.Head(uint32(page))
	if word == 0 || !ok {
		return c.refuse(hooks.NewReport(hooks.ForeignPointer, c.name, addr, "its page holds no slab"))
	}
	slab := a.Addr(head)
	if ownerID(word) != c.id {
		r := hooks.NewReport(hooks.WrongCache, c.name, addr, "")
		r.Slab = slab
		if owner := caches.find(word); owner != nil {
			r.Owner = owner.name
		}
		return c.refuse(r)
	}
	off, objects := addr-slab, mem.PageSize<<order/c.layout.slot
	if off%c.layout.slot != 0 || off/c.layout.slot >= objects {
		r := hooks.NewReport(hooks.MisalignedPointer, c.name, addr, "%d bytes into an object of %d", off%c.layout.slot, c.layout.size)
		r.Slab = slab
		return c.refuse(r)
	}
	return word &^ careful
}

func (c *Cache) refuse(r *hooks.Report) uint32 {
	c.slabs.count(refused, 1)
	r.Fire(&c.config.Hooks)
	return 0
}

// reportCorrupt tells about a free pointer that leads out of its slab. The objects
// behind it can't be found any more and count as in use.
func (c *Cache) reportCorrupt(obj uintptr, s slabRef) {
	r := hooks.NewReport(hooks.FreelistCorrupt, c.name, obj, "free pointer at +%d reads %#x", c.layout.fp, *mem.At[uint64](obj + c.layout.fp))
	r.Slab = s.addr
	r.Fire(&c.config.Hooks)
}
