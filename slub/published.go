package slub

import (
	"fmt"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/slab"
)

func init() {
	if invariants.Enabled {
		invariants.SetUnpublishable(unpublishable)
	}
}

// unpublishable says why an rcu.Pointer must not lead to an address, or returns "". It may lead to
// any byte of an object in use, and to memory that is neither an arena's nor Go's. The answer holds
// for an object that the caller has: no other goroutine frees it meanwhile.
func unpublishable(addr uintptr) string {
	if callback.Inside() {
		return "" // a constructor, destructor or hook may link objects that are in no use
	}
	a := arena.Find(addr)
	if a == nil {
		if inGoMemory(addr) {
			return "it is on Go's heap or a goroutine's stack, which an rcu.Pointer doesn't keep alive"
		}
		return ""
	}
	page, inRange := a.PageOf(addr)
	if !inRange {
		return "" // a mapping
	}
	word := a.Owner(page)
	head, _, used := a.Head(page)
	if !used || word.ID() == 0 {
		return "its page holds no object; if it ever did, its slab or pages have been given back"
	}
	c := caches.find(word)
	if c == nil {
		if word.HasFlags() {
			return "it has been freed before"
		}
		return ""
	}
	return c.unpublishable(addr, c.slabs.Start(head))
}

// unpublishable is the answer for an address in a slab of the cache, which in builds with
// invariants has a mark for each object.
func (c *Cache) unpublishable(addr, start uintptr) string {
	if addr < start {
		return fmt.Sprintf("it lies in front of an object of cache %q", c.name)
	}
	obj := addr - (addr-start)%c.layout.slot
	if addr-obj >= c.layout.size {
		return fmt.Sprintf("it lies behind the object at %#x of cache %q", obj, c.name)
	}
	p := mem.Ptr(obj)
	if mark := c.slabs.MarkOf(p, c.marks.push.Owner(p)); mark != slab.InUse {
		return fmt.Sprintf("the object at %#x of cache %q: %s", obj, c.name, freedBefore[mark])
	}
	return ""
}
