package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// Caches that must see each object go by, for a hook, for init-on-alloc or
// init-on-free, or because a sanitizer watches the build, get operations that are
// wrapped; all others pay nothing for the possibility. The wrapped Free makes the
// quick check of Free fail, by a range of no pages, so that every object takes
// freeSlow, where freed is called.

// wrapped reports whether the cache's operations are wrapped.
func (c *Cache) wrapped() bool {
	h := &c.config.Hooks
	return h.Alloc != nil || h.Free != nil || c.config.Flags&(InitOnAlloc|InitOnFree) != 0 || sanitized
}

// allocWrapped is the pop of such a cache.
func (c *Cache) allocWrapped() (unsafe.Pointer, error) {
	p, err := c.bare.Func()()
	if err == nil {
		c.allocated(p, false)
	}
	return p, err
}

// allocated is called on every object before the user gets it, zeroed if he asked for
// that (kernel: slab_post_alloc_hook).
func (c *Cache) allocated(p unsafe.Pointer, zero bool) {
	if sanitized {
		acquireObject(p, c.layout)
	}
	switch {
	case zero || c.config.Flags&InitOnAlloc != 0:
		mem.Zero(uintptr(p), c.config.Size)
	case c.config.Flags&InitOnFree != 0 && c.layout.fpInside():
		// The rest is zero since the object was freed.
		mem.Zero(uintptr(p)+c.layout.fp, freePtrSize)
	}
	if c.config.Hooks.Alloc != nil {
		c.config.Hooks.Alloc(c.object(p))
	}
}

// freed is called on every object that is free for good; if it returns true a hook
// keeps the object (kernel: slab_free_hook).
func (c *Cache) freed(p unsafe.Pointer) (keep bool) {
	if !c.wrapped() {
		return false
	}
	if c.config.Hooks.Free != nil && c.config.Hooks.Free(c.object(p)) {
		return true
	}
	if c.config.Flags&InitOnFree != 0 {
		mem.Zero(uintptr(p), c.layout.size)
	}
	if sanitized && c.config.Flags&TypesafeByRCU == 0 { // else readers may look at it
		releaseObject(p, c.layout)
	}
	return false
}

// freedAll calls freed on all objects, moves those that no hook keeps to the front
// and returns their number.
func (c *Cache) freedAll(objs []unsafe.Pointer) (n int) {
	for _, p := range objs {
		if !c.freed(p) {
			objs[n] = p
			n++
		}
	}
	return n
}

func (c *Cache) object(p unsafe.Pointer) hooks.Object {
	return hooks.Object{Cache: c.name, Addr: uintptr(p), Size: c.config.Size,
		Node: int(c.slabs.arena.NodeOf(uintptr(p)))}
}
