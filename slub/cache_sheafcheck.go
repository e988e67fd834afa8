package slub

import (
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
)

// A wild write may hit the array of a sheaf. What is popped from it then is any number, and a
// caller that used it as an object would write to memory of another owner. So hardened caches, and
// all in builds that check everything, look at what they take from a sheaf: an object of the cache
// must start there. The sequences of hardened caches look in front of their commit
// (percpu.PopMarked), and leave what is no object to the functions here.
//
// Such a number is dropped. The object that was in its place is lost and counts as in use, as those
// behind a free pointer that was overwritten do. While a number is reported, no variable and no
// array of an operation has it as a pointer: a Report hook may make the goroutine's stack grow, and
// the runtime ends the process if a pointer on the stack lies in the first page.

// checksSheaves reports whether the cache looks at what it takes from a sheaf.
func (c *Cache) checksSheaves() bool { return checked || c.marks != nil && c.marks.hardened }

// objectAt reports whether an object of the cache starts at addr. Only for caches of which
// checksSheaves is true.
func (c *Cache) objectAt(addr uintptr) bool {
	if addr < mem.PageSize {
		return false
	}
	if o := c.marks.push.Owner(mem.Ptr(addr)); o.ID() == c.id && !o.HasFlags() {
		return true
	}
	_, r := c.lookUp(mem.Ptr(addr))
	return r == nil
}

// look looks at what was taken from a sheaf. If it is no object of the cache, look reports that and
// returns false. Its caller goes on with the first result in place of p: p must not be on the stack
// any more while that is reported; see above.
func (c *Cache) look(p unsafe.Pointer) (same unsafe.Pointer, ok bool) {
	if !c.checksSheaves() {
		return p, true
	}
	addr := uintptr(p)
	if !c.objectAt(addr) {
		c.reportSheaf(addr)
		return nil, false
	}
	return mem.Ptr(addr), true
}

// popLooking takes objects as popRaw does until one passes the look.
func (c *Cache) popLooking() (unsafe.Pointer, error) {
	for {
		p, err := c.popRaw.Func()()
		if err != nil {
			return nil, err
		}
		if p, ok := c.look(p); ok {
			return p, nil
		}
	}
}

// reportSheaf reports an address that a sheaf had, and where no object of the cache starts.
func (c *Cache) reportSheaf(addr uintptr) {
	detail := "a sheaf had it, and no object of the cache starts there"
	r := hooks.NewReport(hooks.SheafCorrupt, c.primary().name, addr, "%s", detail)
	if addr >= mem.PageSize {
		if _, found := c.lookUp(mem.Ptr(addr)); found != nil {
			r.Owner, r.Slab = found.Owner, found.Slab
			if found.Detail != "" {
				r.Detail += ": " + found.Detail
			}
		}
	}
	c.fire(r)
}

// objects looks at all that was taken from sheaves. It moves the objects of the cache to the front
// of ps and clears the rest. It returns how many objects there are, all if the cache doesn't look,
// and the other addresses.
func (c *Cache) objects(ps []unsafe.Pointer) (n int, wrong []uintptr) {
	if !c.checksSheaves() {
		return len(ps), nil
	}
	for i := range ps {
		if addr := uintptr(ps[i]); c.objectAt(addr) {
			ps[n] = mem.Ptr(addr)
			n++
		} else {
			wrong = append(wrong, addr)
		}
	}
	clear(ps[n:])
	return n, wrong
}

// reportAll is reportSheaf for each of wrong. If a report doesn't return, the others are made
// nevertheless, and then lost is called.
func (c *Cache) reportAll(wrong []uintptr, lost func()) {
	if len(wrong) > 0 {
		callback.Guard(func() { callback.Each(wrong, c.reportSheaf) }, lost)
	}
}

// flushChecked frees to their slabs what was in sheaves.
func (c *Cache) flushChecked(objs []unsafe.Pointer) {
	n, wrong := c.objects(objs)
	c.count(kept, len(wrong))
	report := func() { c.reportAll(wrong, func() {}) }
	callback.Guard(func() { c.slabs.FreeBulk(objs[:n]) }, report)
	report()
}

// keepObjects drops from the first got of dst, which sheaves have given, what is no object, and
// returns how many are left, in front. If a report doesn't return, they go to their slabs.
func (c *Cache) keepObjects(dst []unsafe.Pointer, got int) (n int) {
	n, wrong := c.objects(dst[:got])
	c.reportAll(wrong, func() {
		defer clear(dst)
		c.returnBulk(dst[:n])
	})
	return n
}
