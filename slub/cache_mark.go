package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// A cache has a single if each of its objects has a slab of its own: the page classes. The slab
// marks the object as in use or free. The mark shows a second Free, as the marks of largeObjects
// do, until the object is handed out again. It costs a pair of Malloc and Free an atomic operation,
// which is little beside what a program does with 32 KiB or more. Smaller objects have no mark.
//
// Alloc sets the mark before its hook is called. A function that a user calls to free an object
// clears it first, by claim, and does nothing more if that fails.
type single struct {
	push percpu.Free // of an object that is claimed
	// onlyMarks says that the cache is instrumented for its marks alone. Constant after New.
	onlyMarks bool
}

// onlyMarked reports whether the cache is instrumented for its marks alone.
func (c *Cache) onlyMarked() bool { return c.single != nil && c.single.onlyMarks }

// allocMarked is Alloc of a cache of which onlyMarked is true.
func (c *Cache) allocMarked() (unsafe.Pointer, error) {
	p, err := c.popRaw.Func()()
	if err == nil {
		c.slabs.SetInUse(p)
	}
	return p, err
}

// freeMarked is Free of a cache with marks, for a pointer into a page with owner word o. It returns
// false, and has done nothing, if onlyMarked is false or p is no object in use.
func (c *Cache) freeMarked(p unsafe.Pointer, o owner.Word) bool {
	if !c.single.onlyMarks || !c.slabs.Claim(p, o) {
		return false
	}
	c.single.push.Func()(p)
	return true
}

// freeClaimed is what frees a claimed object when the CPU's stack refuses it.
func (c *Cache) freeClaimed(p unsafe.Pointer) { c.freeChecked(p, c.single.push.Owner(p)) }

// claim makes the caller the one that frees an object with the owner word o, or reports that it is
// free. It does nothing in a cache without marks.
func (c *Cache) claim(p unsafe.Pointer, o owner.Word) bool {
	if c.single == nil || c.slabs.Claim(p, o) {
		return true
	}
	c.refuseFreed(p)
	return false
}

// claimOrReport is ownerOrReport for an object that its user frees.
func (c *Cache) claimOrReport(p unsafe.Pointer) owner.Word {
	o := c.ownerOrReport(p)
	if o != 0 && !c.claim(p, o) {
		return 0
	}
	return o
}

// heldOrReport is ownerOrReport for an object that its user still holds: of objects with
// marks it reports those that are free.
func (c *Cache) heldOrReport(p unsafe.Pointer) owner.Word {
	o := c.ownerOrReport(p)
	if o != 0 && c.single != nil && !c.slabs.IsInUse(p, o) {
		return c.refuseFreed(p)
	}
	return o
}

// refuseFreed reports an object that is free.
func (c *Cache) refuseFreed(p unsafe.Pointer) owner.Word {
	return c.refuse(hooks.NewReport(hooks.DoubleFree, c.name, uintptr(p), "it has been freed before"))
}
