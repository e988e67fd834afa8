// Package guard has pools of guarded pages: places for single objects between pages that fault on
// every access, which become such pages themselves when the object is freed (kernel: KFENCE).
//
// # Place in the data flow
//
//	slub.Alloc (slow path, picked) -> [Pool.Take] -> slab.TakeGuarded -> [Pool.Begin]
//	slub.FreeRCU, FreeDeferred     -> [NoteFree]
//	slab: the object is freed      -> [Check] -> the page's slab ends -> [Release]
//	an access to a guarded page    -> SIGSEGV -> internal/sys/guard_cgo.c reads the pool's area
//	slub.Free of a pointer that it refuses -> [Look]
//
// A pool is a run of 512 pages of an arena that was split, in the range of one NUMA node. The arena
// knows its pages as 512 runs. To the slabs a guarded page is a slab of one object. So an owner
// word, a group's charge, a walk over live objects and Close find a guarded object like any other.
// The pool keeps what only reports need, in memory that the C handler reads.
//
//	pages   0       1        2       3        4              510      511
//	        guard | slot 0 | guard | slot 1 | guard | ... | guard  | guard
//
// The page of slot i is 2*i+1, up to slot 254 in page 509. All others are guards for as long as the
// pool lives.
//
// # States of a slot
//
//	             page       in the queue   changed by
//	unused       guarded    yes            Take
//	in use       open       no             Release; before it Check records the free
//	freed        guarded    yes            Take, the slot that was freed first
//
// A freed slot is used again as late as possible: the queue is first in, first out. A slot belongs
// to the goroutine that Take has returned it to, then to the holder of its object, and to the
// goroutine that frees this until Release puts the slot into the queue.
//
// # Locks
//
//	registry.mu   held while a pool is made or given back; the arena's locks come under it
//	Pool.mu       a leaf: the queue of slots
//	texts.mu      a leaf
//
// # Not allowed
//
// A slab must not be listed or retire with a guarded page: TakeGuarded is not for caches with
// TypesafeByRCU, whose readers may read what is freed.
package guard
