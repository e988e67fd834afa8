package slub

import "unsafe"

// plainlyAccounted reports whether Accounts may allocate objects of the cache, and free them, by
// the cache's sequences alone: it has Exts, and nothing else has to be done for an object.
func (c *Cache) plainlyAccounted() bool {
	return c.marks.accounted && !c.marks.hardened && !c.watched()
}

// uncharge ends the charge of an object of a cache that Accounts allocate from, if it has one. It
// is called after the object's destructor and before its Free hook, once or more often (kernel:
// memcg_slab_free_hook). In other caches it does nothing.
func (c *Cache) uncharge(p unsafe.Pointer) {
	if c.marks == nil || !c.marks.accounted {
		return
	}
	if ref := c.slabs.Exts().TakeRef(uintptr(p)); ref != 0 {
		accounts.uncharge(ref, int64(c.layout.slot))
	}
}
