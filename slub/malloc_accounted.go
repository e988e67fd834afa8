package slub

import (
	"iter"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub/internal/slab"
)

// Accounts allocate from caches of their own, one for each class of Buckets, which all Accounts of
// the Buckets share (kernel: the kmalloc-cg caches). Their objects have Exts, which say what they
// are charged to, and every Free of such an object takes its slow path, which looks there. The
// Buckets' other caches know nothing of it, and their operations are the same as without Accounts.
//
// The cache of a class is made by the first allocation that needs it.

// numAccounted is how many classes have a cache for Accounts: all of Classes.
const numAccounted = numClasses + numPageClasses

// accountedClasses are the caches that Accounts allocate from.
type accountedClasses struct {
	// set is nil before the first Account. Stored under pageClasses.mu.
	set   atomic.Pointer[accountedSet]
	lease *lease // numbers and cells of the caches. Under pageClasses.mu
}

// An accountedSet has what Account.Malloc and Account.Free need to know of the caches.
type accountedSet struct {
	base    uintptr        // address of the arena's range
	pages   uintptr        // pages of the range
	owners  unsafe.Pointer // owner word of every page
	firstID uint32         // number of the first class; those of the others follow
	classes [accountedMask + 1]accountedClass
	caches  [numAccounted]atomic.Pointer[Cache] // nil: not made yet. Stored under pageClasses.mu
}

// An accountedClass is what the short paths of Accounts know of a class. It is written once, before
// the class's cache is stored, so that whatever holds an object of the cache finds it complete.
// Only direct changes later, by SetHooks.
type accountedClass struct {
	// direct is size; or notDirect if allocations and frees must call the cache's, which may have
	// hooks, or there is no cache yet. Stored under pageClasses.mu, after the rest.
	direct atomic.Int64
	size   int64           // number of bytes that an object is charged for
	pop    percpu.PopFunc  // takes an object that nothing has prepared
	push   percpu.FreeFunc // frees an object that is claimed; nil if Free must call the cache's
	exts   uintptr         // address that the Ext of an object at address 0 would have
	shift  uintptr         // binary logarithm of the bytes of the arena's range that have an Ext
	_      [mem.CacheLine - 48]byte
}

var _ = [1]struct{}{}[unsafe.Sizeof(accountedClass{})-mem.CacheLine]

// notDirect is more than any Account has room for.
const notDirect = math.MaxInt64

// accountedMask has all bits of a class's number.
const accountedMask = 127

var _ = [1]struct{}{}[numAccounted/(accountedMask+1)]

// noExt is the Ext of what is of no class that has one in the short paths: not in use.
var noExt slab.Ext

// accountedSteps has the class of each number of bytes n up to maxClass, by n-1 in fine steps, and
// behind maxFine in coarse steps.
var accountedSteps = func() (steps [maxFine/fineStep + maxClass/coarseStep]uint8) {
	copy(steps[:], fineClasses[1:]) // fineClasses[0] is for no bytes
	copy(steps[maxFine/fineStep:], coarseClasses[1:])
	return steps
}()

// classAt returns the class that an address is of by its page's owner word; nil if it is none, or
// the object may be alone in its slab.
func (s *accountedSet) classAt(p unsafe.Pointer) *accountedClass {
	page := (uintptr(p) - s.base) >> mem.PageShift
	if page < s.pages {
		word := *(*owner.Word)(unsafe.Add(s.owners, page*4))
		// Flags make it larger than any class.
		if i := uint32(word)>>owner.NodeBits - s.firstID; i < uint32(numAccounted) {
			return &s.classes[i&accountedMask]
		}
	}
	return nil
}

// extAt returns the address of the Ext of an object of the class.
func (c *accountedClass) extAt(p unsafe.Pointer) *slab.Ext {
	return mem.At[slab.Ext](c.exts + uintptr(p)>>(c.shift&63)*unsafe.Sizeof(slab.Ext(0)))
}

// accountedClassOf returns the class for less+1 bytes, 1 to maxPageClass.
func accountedClassOf(less uint) int {
	switch {
	case less < maxFine:
		return int(accountedSteps[less/fineStep])
	case less < maxClass:
		return int(accountedSteps[maxFine/fineStep+less/coarseStep])
	}
	return numClasses + pageClassOf(uintptr(less+1))
}

// accountedSet returns the set, which it makes if there is none. Errors: ErrClosed; as New.
func (b *Buckets) accountedSet() (*accountedSet, error) {
	if s := b.accounted.set.Load(); s != nil {
		return s, nil
	}
	b.pages.mu.Lock()
	defer b.pages.mu.Unlock()
	switch s := b.accounted.set.Load(); {
	case s != nil:
		return s, nil
	case b.pages.closed:
		return nil, ErrClosed
	}
	first, err := caches.span(numAccounted)
	if err != nil {
		return nil, err
	}
	b.accounted.lease = &lease{first: first, n: numAccounted}
	s := &accountedSet{base: b.arena.Base(), pages: uintptr(b.arena.Pages()), owners: b.arena.Owners(), firstID: first}
	for i := range s.classes {
		s.classes[i].direct.Store(notDirect)
		s.classes[i].exts, s.classes[i].shift = mem.Addr(&noExt), 63
	}
	b.accounted.set.Store(s)
	return s, nil
}

// end ends the lease, when all caches are closed.
func (a *accountedClasses) end() {
	if a.lease != nil {
		a.lease.end()
	}
}

// accountedCache returns the cache of a class, which it makes if there is none. There is a set.
// Errors: ErrClosed; as New.
func (b *Buckets) accountedCache(class int) (*Cache, error) {
	s := b.accounted.set.Load()
	if c := s.caches[class].Load(); c != nil {
		return c, nil
	}
	p := &b.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := s.caches[class].Load(); c != nil {
		return c, nil
	}
	if p.closed {
		return nil, ErrClosed
	}
	cfg, single := b.config.accounted(class)
	lease := b.accounted.lease
	c, err := newCache(b.arena, cfg, reservation{id: s.firstID + uint32(class), backlog: b.backlog, lease: lease,
		single: single, accounted: true, hooks: b.hooking.now.Load()})
	if err != nil {
		return nil, err
	}
	lease.single = append(lease.single, c.stacks)
	c.buckets.Store(b)
	entry := &s.classes[class]
	exts := c.slabs.Exts()
	if c.plainlyAccounted() {
		first, shift := exts.Entries()
		// The range begins at a page, so the sum is the same as with the offset in the range.
		entry.exts, entry.shift = first-b.arena.Base()>>shift*unsafe.Sizeof(slab.Ext(0)), uintptr(shift)
		entry.pop, entry.push, entry.size = c.popRaw.Func(), c.marks.push.Func(), int64(c.layout.slot)
	}
	s.caches[class].Store(c)
	if entry.push != nil && !c.hooked() {
		entry.direct.Store(int64(c.layout.slot)) // last: makes the rest take effect
	}
	return c, nil
}

// accounted returns the config of the cache that Accounts allocate from of a class, and whether it
// has one object in each slab.
func (c BucketsConfig) accounted(class int) (cfg Config, single bool) {
	c.Name, c.Partitions = c.name()+"-cg", 1
	if class < numClasses {
		cfg = c.class(0, classSizes[class])
	} else {
		cfg, single = c.pageClass(pageClassSizes[class-numClasses]), true
	}
	cfg.Debug = "-" // an Ext has no mark for a debug cache
	return cfg, single
}

// made yields the caches that there are, by class.
func (a *accountedClasses) made() iter.Seq2[int, *Cache] {
	return func(yield func(int, *Cache) bool) {
		s := a.set.Load()
		if s == nil {
			return
		}
		for i := range s.caches {
			if c := s.caches[i].Load(); c != nil && !yield(i, c) {
				return
			}
		}
	}
}

// cacheWith returns the cache with a number, or nil.
func (a *accountedClasses) cacheWith(id uint32) *Cache {
	if s := a.set.Load(); s != nil {
		if class := id - s.firstID; class < uint32(numAccounted) {
			return s.caches[class].Load()
		}
	}
	return nil
}
