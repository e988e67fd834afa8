// Package slub allocates objects from memory that the garbage collector neither scans nor counts:
// the Linux kernel's SLUB allocator with per-CPU sheaves and RCU-batched frees, in user space.
//
//	cache, err := slub.New(nil, slub.Config{Name: "session", Size: 96})
//	p, err := cache.Alloc()
//	...
//	cache.Free(p)
//
// # Which call when
//
//	objects of one Go type                  NewTyped, then Typed.Alloc, Free
//	objects of one size                     New, then Cache.Alloc, Free
//	objects of one size, by one goroutine   Cache.NewLocal, then Local.Alloc, Free
//	values of any size, []byte              Malloc, Bytes, Free, FreeBytes; NewBuckets
//	such values, in objects                 Slice, NewSlice
//	many at once                            AllocBulk, MallocBulk, FreeBulk
//	zeroed                                  AllocZero, MallocZero, BytesZero, ReallocZero, or
//	                                        Config.Flags with InitOnAlloc
//	on a given NUMA node                    AllocNode, MallocNode
//	an allocation that must not fail later  Prefill
//	in a hook, a finalizer, under a lock    AllocNoWait, MallocNoWait, FreeDeferred,
//	                                        FreeRCUNoWait
//	readers without a lock may hold it      FreeRCU, and rcu.Domain.Enter in readers
//	readers may hold it, no grace period    TypesafeByRCU, and a check by the reader
//	a reference that costs the GC nothing   Ref, RefOf, Slice
//	what a pointer belongs to               Owner
//	which objects are in use                Cache.Live, Buckets.Live
//	what each line of the program has       Config.CallSites, then WriteCallSites
//	a bound for several caches together     NewGroup, then Config.Group
//	a bound for a request's objects         NewAccount, then Account.Malloc, Free, Reset
//
// # Ownership
//
// The caller of Alloc owns the object until it passes it to exactly one of the Free methods, on
// any goroutine. After that it must not use the object. After FreeRCU, readers of the cache's
// Domain may use it until they next report a quiescent state or leave their section; a destructor
// then gets it.
//
// Objects hold no Go pointers: the collector does not see them (NewTyped refuses such types). An
// object keeps its content over Free only with a constructor; 8 bytes of a free object hold its
// link. Every Free checks that the pointer is an object of the cache and reports one that is not.
// An object that is freed twice is reported only at times, except in hardened caches
// (Config.Hardened) and in builds with -race, -asan or -tags invariants, which find it always.
//
// A constructor, destructor or hook must not call into the allocator, whichever cache it is, except
// AllocNoWait, MallocNoWait, FreeDeferred and FreeRCUNoWait.
//
// # Shutdown
//
// Close comes after the last use. It waits for the grace periods of everything given to FreeRCU,
// gives objects and slabs back to the arena, which keeps their pages for other caches or gives them
// to the kernel, and returns an error with the addresses of objects that were not freed.
// CloseContext does so with a deadline. Barrier waits for the grace periods and leaves the cache
// open. A reader that never reports a quiescent state blocks both; their errors name it.
//
// # How it works
//
//	Alloc, Free   the CPU's main sheaf and spare, the node's barn, slabs, arena
//	Local         its array; half of it is exchanged with the main sheaf and the barn
//	FreeRCU       the CPU's rcu_free sheaf, one grace period for the sheaf, destructor, barn
//	              objects that no sheaf takes wait in a queue: destructor, slab
//	FreeDeferred  the list of the cache, then Free by the next drain
//	Malloc        a cache per size class; page runs above 1 MiB; mappings above 4 MiB
//
// Free compares the owner word of the object's page, which has cache and node, with that of the
// CPU's stack, and pushes the object there. When the main sheaf is full it is exchanged for the
// spare, then for an empty sheaf of the node's barn; when the barn is full, the objects of the
// spare go back to their slabs. Alloc goes the same way in the opposite direction. An object in a
// sheaf counts as in use for its slab.
//
// The slabs are in package slub/internal/slab, which knows only pages and objects. A cache joins
// them to its sheaves as the Source of these, in cache_source.go.
//
// # Locks, outer to inner
//
//	Buckets.closeMu
//	Cache.closeMu
//	defaults.making: while the default Buckets are made
//	pageClasses.mu: while the cache of a page class, or one for Accounts, is made
//	deferFree.draining: while objects are freed and hooks called; operations only try it
//	deferLarge.draining: the same for objects of pages
//	  sheaves' locks (see there); a Source is called under none that an operation waits for
//	  freequeue's locks (see there); its outer one is held while destructors and hooks are called
//	the locks of slabs, then the arena's (see there)
//	largeObjects.mu, siteTable.mu, accountTable.mu, bucketsRegistry.mu: leaves
//	groupRegistry.mu, Group.mu: no lock is taken under the latter
//	registry.mu: a leaf
//	localSet.mu
//	localState.mu: a leaf
//
// AllocNoWait only tries locks: the CPU's stack, the barn's mutex, the nodes'. Unlocking these
// makes no system call either (see lock.Mutex). FreeDeferred takes no lock.
package slub
