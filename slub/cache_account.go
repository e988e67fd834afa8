package slub

import "unsafe"

// plainlyAccounted reports whether Accounts may allocate objects of the cache, and free them, by
// the cache's sequences alone: it has Exts, and nothing else has to be done for an object.
func (c *Cache) plainlyAccounted() bool {
	return c.marks.accounted && !c.marks.hardened && !c.alwaysWatched()
}

// uncharge ends the charge of an object of a cache that Accounts allocate from, or its place in the
// sum of its call site, if it has one. It is called after the object's destructor and before its
// Free hook, once or more often (kernel: memcg_slab_free_hook, alloc_tagging_slab_free_hook). In
// other caches it does nothing.
func (c *Cache) uncharge(p unsafe.Pointer) {
	if c.marks == nil || !c.marks.hasExts() {
		return
	}
	unrefer(c.slabs.Exts().TakeRef(uintptr(p)), int64(c.layout.slot))
}
