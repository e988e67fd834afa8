// Package hooks is how debug aids and users see the objects of a cache pass
// by, and how slubd tells about misuse and corruption.
//
//	slub.Cache --alloc, free, new slab--> Hooks (functions, nil = not called)
//	slub.Cache --misuse found-----------> Report.Fire -> Hooks.Report, else panic
//
// It is a leaf: an event is a plain value that carries a cache's name and
// addresses, never a cache, so nothing here needs to know what a cache is and
// no import cycle can arise. It imports the standard library only.
//
// Lock order: the package has no lock. A cache calls hooks on the goroutine
// that allocates or frees (after a grace period: on the one that expires the
// sheaf). No lock is held that an operation on an object would wait for.
//
// Not allowed: a hook must not call into the allocator, but for AllocNoWait,
// FreeDeferred and FreeRCUNoWait, and must not keep an address beyond its call unless it is a Free hook
// that returned true.
package hooks
