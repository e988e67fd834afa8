package hooks

// Object describes one object of a cache at the moment of an event.
type Object struct {
	Cache string  // name of the cache
	Addr  uintptr // first byte of the object, off-heap
	Size  uintptr // usable bytes from Addr
	Node  int     // NUMA node of the memory; -1 when unknown
}

// Slab describes a page run that a cache has just cut into objects.
type Slab struct {
	Cache   string  // name of the cache
	Addr    uintptr // first byte of the run, off-heap
	Bytes   uintptr // length of the run
	Objects int     // number of objects in it
	Node    int     // NUMA node of the memory; -1 when unknown
}

// Hooks are functions that a cache calls on its events. A nil field costs one
// test and is not called. The functions must be safe for use by several
// goroutines at once and must not call into the allocator, but for the cache's
// AllocNoWait, FreeDeferred and FreeRCUNoWait. They are fixed when the cache is made.
//
// Their places are those of the kernel's slab_post_alloc_hook and
// slab_free_hook (mm/slub.c).
type Hooks struct {
	// Alloc sees each object before the caller gets it, after it has been
	// zeroed where that was asked for.
	Alloc func(Object)

	// Free sees each object before its memory can be reused; objects given to
	// FreeRCU after their grace period and after the cache's destructor, inside
	// whatever operation ends that, of any user of the cache.
	// Returning true keeps the object: the cache counts it as in use for as
	// long as the cache lives.
	Free func(Object) (keep bool)

	// NewSlab sees each slab before the first object of it is handed out.
	NewSlab func(Slab)

	// Report is told about misuse and corruption. After it returns, the cache
	// goes on without the operation concerned: a pointer that was refused
	// stays where it is. When nil, a report panics.
	Report func(*Report)
}
