package slub

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// An OwnerInfo says which object an address lies in, and what the object belongs to.
type OwnerInfo struct {
	// Cache is the cache that the object is of, also for a size class of Buckets; of caches that
	// share their slabs the oldest. nil for a page run or mapping.
	Cache *Cache
	// Buckets are those that the object came from, or nil if it came from a cache of its own.
	Buckets *Buckets
	Group   *Group // the object's pages are charged to it; nil if there is none
	Arena   *arena.Arena
	Addr    uintptr // start of the object
	Size    int64   // bytes that it has room for
	// Charged says that the object is charged to an Account, of the name Account.
	Charged bool
	Account string
}

// String describes the object, for logs.
func (o OwnerInfo) String() string {
	if o.Cache != nil {
		return fmt.Sprintf("object %#x of %d bytes, cache %q", o.Addr, o.Size, o.Cache.Name())
	}
	if o.Buckets != nil {
		return fmt.Sprintf("object %#x of %d bytes, buckets %q", o.Addr, o.Size, o.Buckets.Name())
	}
	return "no object"
}

// Owner finds the object that p points into, to its start or anywhere inside. ok is false if there
// is none: p is not of an open arena, or lies between objects, or what it was part of is closed or
// given back.
//
// It says nothing about whether the object is in use: a free one that lies in a slab has an owner
// as well. For a caller that does not hold the object, the answer may be outdated at once.
//
// Any goroutine. It is for diagnosis: it looks at every open arena and Buckets, and for an object
// larger than 4 MiB at every such object, some nanoseconds each. (Kernel: virt_to_cache,
// kmem_dump_obj.)
func Owner(p unsafe.Pointer) (o OwnerInfo, ok bool) {
	addr := uintptr(p)
	a := arena.Find(addr)
	if a == nil {
		return OwnerInfo{}, false
	}
	page, inRange := a.PageOf(addr)
	if !inRange {
		return mappingOwner(a, addr)
	}
	word := a.Owner(page)
	head, pages, used := a.Head(page)
	if !used || word.ID() == 0 {
		return OwnerInfo{}, false
	}
	o = OwnerInfo{Arena: a, Addr: a.Addr(head), Size: int64(pages) * mem.PageSize}
	if c := caches.find(word); c != nil {
		slot := c.layout.slot
		o.Addr = c.slabs.Start(head)
		i := (addr - o.Addr) / slot
		if i >= c.slabs.ObjectsIn(head) {
			return OwnerInfo{}, false // behind the last object of the slab
		}
		o.Cache, o.Buckets, o.Group = c, c.Buckets(), c.Group()
		o.Addr, o.Size = o.Addr+i*slot, int64(c.layout.size) // of aliases the largest
		if c.marks != nil && c.marks.hasExts() {
			o.Account, o.Charged = accounts.name(c.slabs.Exts().Ref(o.Addr))
		}
		return o.holding(addr)
	}
	if o.Buckets = bucketsOf(word); o.Buckets == nil {
		return o, false
	}
	o.Group = o.Buckets.Group()
	o.Addr, o.Size = o.Addr+o.Buckets.large.lead, o.Size-int64(o.Buckets.large.beside)
	o.Account, o.Charged = o.Buckets.largeAccount(o.Addr)
	return o.holding(addr)
}

// holding returns o if the object has addr, and does not only have it behind its end.
func (o OwnerInfo) holding(addr uintptr) (OwnerInfo, bool) {
	if addr-o.Addr >= uintptr(o.Size) {
		return OwnerInfo{}, false
	}
	return o, true
}

// bucketsOf returns the open Buckets whose large objects have a page's owner word, or nil.
func bucketsOf(word owner.Word) *Buckets {
	for b := range allBuckets.all() {
		if b.id == word.ID() {
			return b
		}
	}
	return nil
}

// mappingOwner is Owner for an address outside of the arena's range.
func mappingOwner(a *arena.Arena, addr uintptr) (o OwnerInfo, ok bool) {
	start, bytes := a.MappingAt(addr)
	for b := range allBuckets.all() {
		if b.arena != a {
			continue
		}
		if l, ok := b.largeAt(mem.Ptr(start + b.large.lead)); ok {
			o = OwnerInfo{Buckets: b, Group: b.Group(), Arena: a, Addr: l.addr, Size: bytes - int64(b.large.beside)}
			o.Account, o.Charged = b.largeAccount(l.addr)
			return o.holding(addr)
		}
	}
	return OwnerInfo{}, false
}
