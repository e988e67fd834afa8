// Package slub hands out objects of fixed sizes from memory that the garbage
// collector neither scans nor counts: the Linux kernel's SLUB allocator with per-CPU
// sheaves and RCU-batched frees, in user space.
//
//	cache, err := slub.New(nil, slub.Config{Name: "session", Size: 96})
//	p, err := cache.Alloc()
//	...
//	cache.Free(p)
//
// # Place in the data flow
//
//	Alloc, Free  -> percpu (the CPU's main sheaf) -> sheaves (spare, barn) -> slabs -> arena (page runs)
//	FreeRCU      -> percpu (rcu_free) -> sheaves -> rcu (one grace period per sheaf) -> destructor -> barn
//	                what no sheaf takes: a block of the node's row -> rcu (one per block) -> destructor -> slab
//	FreeDeferred -> list of the cache -> Free, by whoever drains it
//
//	Malloc      -> a cache per size class; page runs beyond 32 KiB; mappings beyond 4 MiB
//
// The package has two floors. The upper one (cache, alloc, free, bulk, rcu, rcuqueue, rcurow,
// rcublock, backlog, prefill, nowait, deferfree, typed; malloc, buckets, sizeclass, large, heap on top of them) is
// what users see; it imports sheaves, rcu and hooks. The lower one (layer, node, slab,
// slabfree, slabnowait, slabshrink, slabvalidate, walk, freelist, order, owner) knows pages
// and objects only. They meet in refill.go, where a cache is a sheaves.Source.
//
// # An object's way
//
// Free compares the owner word of the object's page with that of the CPU's stack:
// cache and node in one load, and pushes. A full main sheaf changes places with the
// spare, then with an empty sheaf from the node's barn; when the barn has its fill,
// the spare's objects return to their slabs. Alloc goes the same ladder downwards. An
// object in a sheaf counts as out in its slab.
//
// # States of a slab
//
//	chain   inuse          listed   who may change it
//	none    objects        no       frees: the first one lists it, under the node's lock
//	some    1..objects-1   yes      frees by exchange; allocation under the node's lock
//	all     0              yes      as above; beyond MinPartial, given back to the arena
//	some    any            no       private: a refill has taken it off the list
//	all     0              no       deferred: TypesafeByRCU, its pages wait for a grace period
//
// # Locks, outer to inner
//
//	Buckets.closing
//	Cache.closing
//	deferFree.draining: while objects are freed and hooks called; operations only try it
//	  sheaves' locks (see there), none of which is held when it calls a Source
//	  rcuQueue.draining: while destructors and hooks are called; operations and the timer try
//	    row.mu, blockPool.mu: leaves; only rcu's Start is called under a row's
//	node.mu: a slab's state may change while it is held, its listing only then
//	arena's locks: never under node.mu
//	registry.mu, Buckets' large.mu: leaves
//
// AllocNoWait only tries locks: the CPU's stack, the barn's mutex, the nodes'. To unlock
// these takes no system call either (see lock.Mutex). FreeDeferred has no lock.
//
// # Not allowed
//
// Storing Go pointers in objects: the collector doesn't see them (NewTyped refuses
// such types). Using an object after Free, or after its grace period. Calling a
// cache from its own constructor, destructor or hooks, but for AllocNoWait, FreeDeferred
// and FreeRCUNoWait. Closing a cache that is still being used.
package slub
