package slub

import (
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// Objects of an Account that are larger than all classes have no Ext: their references are in
// largeObjects.charged, and so are those of Buckets with CallSites. What frees a large object looks
// there if there are any.

// chargedFor returns how many bytes an object of n bytes would be charged for; 0 if the arena
// refuses it anyway.
func (b *Buckets) chargedFor(n uintptr) int64 {
	if n > arena.MaxMapping {
		return 0
	}
	return int64(b.largeBytes(n))
}

// chargeLarge notes the reference of the large object at p, which replaces the one to a call site.
func (b *Buckets) chargeLarge(p unsafe.Pointer, ref uint64) {
	if l, ok := b.largeAt(p); ok {
		b.unchargeLarge(l)
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	if b.large.charged == nil {
		b.large.charged = make(map[uintptr]uint64)
	}
	b.large.charged[uintptr(p)] = ref
	b.large.numCharged.Add(1)
}

// noteLargeSite counts a large object for the line that allocates it.
func (b *Buckets) noteLargeSite(l large) {
	if !b.config.CallSites {
		return
	}
	if number := sites.here(); number != 0 {
		sites.add(number, b.taken(l))
		b.chargeLarge(mem.Ptr(l.addr), uint64(number))
	}
}

// unchargeLarge ends the charge of a large object, if it has one. The caller has claimed it.
func (b *Buckets) unchargeLarge(l large) {
	if b.large.numCharged.Load() == 0 {
		return
	}
	b.large.mu.Lock()
	ref := b.large.charged[l.addr]
	if ref != 0 {
		delete(b.large.charged, l.addr)
		b.large.numCharged.Add(-1)
	}
	b.large.mu.Unlock()
	unrefer(ref, b.taken(l))
}

// largeAccount returns the name of the Account that the large object at addr is charged to, if it
// is charged to one.
func (b *Buckets) largeAccount(addr uintptr) (name string, charged bool) {
	b.large.mu.Lock()
	ref := b.large.charged[addr]
	b.large.mu.Unlock()
	return accounts.name(ref)
}

// holdsLarge reports whether the large object at p is in use and has that reference.
func (b *Buckets) holdsLarge(p unsafe.Pointer, ref uint64) bool {
	l, ok := b.largeAt(p)
	if !ok || !b.inUse(l) {
		return false
	}
	b.large.mu.Lock()
	defer b.large.mu.Unlock()
	return b.large.charged[l.addr] == ref
}
