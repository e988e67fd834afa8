package hooks

import "github.com/slubd/slubd/numa"

// Object describes one object of a cache at the moment of an event.
type Object struct {
	Cache string    // name of the cache
	Addr  uintptr   // first byte of the object, off-heap
	Size  int64     // usable bytes from Addr
	Node  numa.Node // of the memory; numa.NoNode when unknown
}

// Slab describes a page run that a cache has just cut into objects.
type Slab struct {
	Cache   string    // name of the cache
	Addr    uintptr   // first byte of the run, off-heap
	Bytes   int64     // length of the run
	Objects int       // number of objects in it
	Node    numa.Node // of the memory; numa.NoNode when unknown
}

// Hooks are functions that a cache calls on its events. A nil field is not called, and Alloc and
// Free of a cache without these two hooks cost nothing more. The functions must be safe for use by
// several goroutines at once and must not call into the allocator, except AllocNoWait,
// MallocNoWait, FreeDeferred and FreeRCUNoWait. SetHooks of a cache or of Buckets changes them
// while it is in use.
//
// A function may panic or end its goroutine (runtime.Goexit). Nothing is lost then. The object that
// Alloc was called with goes back, and none is allocated; the one that Free was called with is
// freed; the slab that NewSlab was called with goes back. The rest of a bulk is freed later, by
// another goroutine.
//
// The cache calls them where the kernel has slab_post_alloc_hook and slab_free_hook (mm/slub.c).
type Hooks struct {
	// Alloc is called with each object before the caller gets it, after it has been zeroed where
	// that was asked for.
	Alloc func(Object)

	// Free is called with each object before its memory can be reused. An object given to FreeRCU
	// gets there after its grace period and after the cache's destructor, inside the operation that
	// reclaims it, which any user of the cache may have called, and when memory is short any user
	// of the arena. Returning true keeps the object: the cache counts it as in use for as long as
	// the cache lives.
	Free func(Object) (keep bool)

	// NewSlab is called with each slab before the first object of it is handed out.
	NewSlab func(Slab)

	// Report is called with each finding of misuse or corruption. After it returns, the cache goes
	// on without the operation concerned: a pointer that was refused stays where it is. When nil, a
	// report panics.
	Report func(*Report)
}
