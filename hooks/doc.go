// Package hooks has the functions that a cache calls on its events (Hooks), for debug aids and
// users, and the reports of misuse and corruption (Report).
//
//	slub.Cache --alloc, free, new slab--> Hooks (functions, nil = not called)
//	slub.Cache --misuse found-----------> Report.Fire -> Hooks.Report, else panic
//
// An event is a plain value with the cache's name and addresses, never a cache. So the package
// needs to know no cache and can be part of no import cycle: of this module it imports only numa,
// for the node, and internal/callback.
//
// Lock order: the package has no lock. A cache calls the hooks on the goroutine that allocates or
// frees; after a grace period, on the goroutine that reclaims the sheaf. No lock is held then that
// an operation on an object would wait for.
//
// Not allowed: a hook must not call into the allocator, whichever cache it is, except AllocNoWait,
// MallocNoWait, FreeDeferred and FreeRCUNoWait. It must not keep an address after it returns,
// unless it is a Free hook that returned true.
package hooks
