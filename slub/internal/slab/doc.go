// Package slab is the lower floor of a cache: it cuts page runs into slabs of equal objects, and
// keeps the free objects of each slab in a chain, those that were never handed out apart from it,
// and the slabs with free objects in lists.
//
// # Place in the data flow
//
//	slub.Alloc -> percpu -> sheaves -> [slab.Slabs.Take] -> arena.AllocPages
//	slub.Free  -> percpu -> sheaves -> [slab.Slabs.FreeBulk] -> arena.Free
//
// A Slabs hands out and takes back objects by their addresses. It knows nothing of sheaves, grace
// periods, hooks or names of caches. The cache gives it the cells in which it counts its events,
// and the functions in Config, through which it tells the cache of new slabs and of damage and
// lets pages wait for a grace period.
//
// An object in a sheaf is out, like one that a user holds.
//
// # States of a slab
//
//	free    inuse          listed   changed by
//	none    objects        no       the first free, which lists it under the node's lock
//	some    1..objects-1   yes      frees by compare-and-swap; under the node's lock a refill,
//	                                which takes it off the list, and the free of the last object
//	all     0              yes      a refill; a slab that becomes empty while the node has
//	                                minPartial partial slabs goes back to the arena instead
//	some    any            no       private: a refill has taken it off the list
//	all     0              no       retired: its pages wait for AfterGracePeriod. A refill that
//	                                finds no other lists it again, under the node's lock
//
// Free objects are those in the slab's chain, which were out and are linked, and the untouched
// ones, which were never out: of these there is only a count. inuse is the number of objects that
// are out. The start of the chain and the two counts are one word, slab.state, which every change
// replaces by compare-and-swap. A slab without free objects is on no list. It is found again by the
// address of an object that is freed.
//
// # Memory
//
// Free pointers lie in the objects, descriptors in the arena's page map, and a node's list and
// counts in memory of that node (Arena.NodeMemory). So a CPU that takes slabs of its own node
// writes to no other node's memory. A Slabs itself lies in Go's heap, and is only read then.
//
// # Functions that don't return
//
// The functions in Config may panic or end their goroutine. No object and no slab is lost then:
// Take frees what it has taken, a slab that could not be prepared goes back to the arena, and a
// free frees all that it was given. See report.go.
//
// # Locks
//
//	node.mu   one for each NUMA node; never two at a time
//
// A slab's place in the lists changes only under its node's lock. The arena, and the functions in
// Config, are called with no lock held, except Arena.SetOwner and Backlog.Release, which take none
// themselves. TakeNoWait only tries locks. Next and SetNext take none.
//
// # Not allowed
//
// Callers must not free an address that is not an object of these slabs. They check that by the
// owner word of the page (package owner); the slabs only find a double free that follows the first
// at once, and a free pointer that leads out of its slab. Callers must not write to a free object:
// its chain runs through it.
package slab
