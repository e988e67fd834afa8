// Package arena provides pages: runs of 1 to 1024 pages from address ranges that belong to one NUMA
// node each.
//
//	slub (slabs, large objects) -> arena (page runs) -> numa (mbind) -> internal/sys (mmap)
//
// # For users
//
// Most programs need no arena of their own: caches use [Default] unless they are given one. A
// program makes one with [New] to bound memory ([Config], [Arena.SetLimit]), to place or lock it,
// to inspect it ([Arena.Stats], [Arena.NodeOf]) or to give it back ([Arena.Purge], [Arena.Close]),
// and passes it to slub.New. [CoupleGoMemLimit] makes the Go runtime's own limit, which knows
// nothing of arenas, give way to what they hold.
//
// # For allocators
//
// The other methods are for the allocator on top, which is package slub:
//
//	Alloc, AllocPages, Free                runs of pages
//	Map, Unmap, Mapping                    allocations larger than a run
//	SetOwner, Owner, Owners, OwnerWord     a word per page that says which cache owns it
//	Meta                                   32 bytes per run for its owner
//	Head, Runs                             from a page to its run, all runs
//	Find, MappingAt                        from an address to its arena, its mapping
//	AddReclaimer, RemoveReclaimer, Reclaim what is done before an allocation fails
//	InUse                                  bytes handed out
//	Base, Pages, Addr, PageOf, NodeIndex   address arithmetic
//	NodeMemory                             memory on each node for the owner's own words
//
// It is not allowed to touch a run after Free, since another owner may have its pages by then, or
// they may be about to be discarded; to free a run by any page but its head (Free panics); to keep
// Go pointers in a run, which the collector would not see.
//
// # The range
//
// An arena reserves one range of addresses, in parts of a power of two bytes. Each node owns parts
// side by side, as many as its memory needs (layout.go), which are bound to the node once. So the
// node of an address is a subtraction, a shift and a look into a small table, and a page number
// reaches everything else:
//
//	base
//	 | node 0               | node 1               |
//	 +------+------+- - - - +------+- - - - - - - -+
//	 | 4 MiB| 4 MiB| virgin | 4 MiB|     virgin    |    the range, up to 16 TiB
//	 +------+------+- - - - +------+- - - - - - - -+
//	    |
//	    +-- page p: metas[p]   32 bytes, see Meta     \
//	                owners[p]   4 bytes, see Owner     > the page map, off-heap
//	                states[p]   1 byte, see Head      /
//
// Both are reservations. The range has no access and the page map is read-only until pages are
// about to be carved; they become writable 4 MiB of range at a time, if possible ahead of need and
// by another goroutine (grow.go). So neither costs memory before it is used, strict overcommit and
// RLIMIT_DATA count what was carved, mlockall makes no more than that resident, and no more is in a
// core dump. /proc/PID/maps names them "slubd: arena NAME" and "slubd: page map NAME", where the
// kernel has such names. A node's part takes two mappings of the process however much is carved,
// and its page map six.
//
// Addresses that were handed out are never unmapped. Those of a closed arena are used again by the
// next arena of the same layout (ranges.go). So a stale pointer reads zeroes or
// an object of an arena, but never the Go heap.
//
// # States of a page
//
// A binary buddy allocator per node (zone.go) moves blocks between these:
//
//	       grow, carve               take, hand
//	  virgin ----------->  clean  ------------------>  used
//	                         ^                         |  ^
//	          sys.Discard,   |                         |  | take, hand
//	               attach    |       detach    freeRun v  |
//	                      leaving <------------------ dirty
//
//	virgin    never carved (at or above zone.bump); not writable at or above zone.writable.
//	clean     free and all zero: virgin until carved, or discarded since.
//	used      part of an allocated run, which belongs to its owner.
//	dirty     free and perhaps resident: used since it was last clean.
//	leaving   being discarded, in no list. Back to dirty if the kernel refuses.
//
// A run of other than a power of two pages is cut from the block of the next one. The rest of the
// block is free, as blocks of its own, and becomes one with the run's pages when these are freed.
//
// Alloc takes dirty blocks first, then clean ones, then carves 4 MiB more; a run from a clean block
// has Run.Zero. Free leaves a run dirty, and discards what exceeds Config.MaxDirty, the largest
// blocks first. A timer discards what nothing has needed for Config.Decay, the oldest blocks first
// and at a limited rate (idle.go, decay.go).
//
// The limit is on used, dirty and leaving bytes (limit.go), and so is that of each node's memory
// (nodelimit.go). No more can be resident, except for huge pages that reach into clean neighbours.
// Above the limit, Alloc discards dirty blocks before it fails; it also discards them to merge free
// blocks when a node's range is full.
//
// The kernel is asked in the background where pages lie (observe.go): what fell to another node
// while its own was full is moved once there is room, and free blocks are discarded that lie on
// another.
//
// An allocation larger than a run is a mapping (mapping.go): found by its address, bound to a node
// like the range, counted in the same ledger. When it is freed its pages are dirty, like those of
// runs, and the next mapping of its size and node has them (kept.go).
//
// # Lock order
//
//	defaultArena.mu      held while Default makes its arena
//	observer.running     held by a run of the observer, and by Close to wait for one
//	Arena.purging        held across discards; system calls happen under it
//	  zone.growing       held while pages become writable; system calls happen under it
//	    zone.mu          one at a time; loads and stores only
//	  mappings.mu        loads and stores only
//	      nodeLedger.mu  a leaf; also under zone.mu
//	  coupling.mu        the Go runtime's memory limit is set under it
//	  closedRanges.mu    a leaf
//	observer.mu          a leaf
//	follow.mu            a leaf; the limit is written under it
//	openNames.mu         a leaf
//	hostLog.mu           a leaf; no logger is called under it
//	pressure.mu          a leaf; files are closed under it
//	shrinker.running     held while a shrinker runs; rounds and stop wait, others try it
//	reclaim.mu           a leaf
//
// A round of Reclaim is outside of all of these: reclaim.go argues why.
//
// Alloc takes purging only when it must discard to succeed, growing only when nothing writable is
// left to carve; Free only tries purging and never takes growing. Head, Owner, NodeOf and the like
// take no lock (owner.go argues why).
//
// # Builds
//
// With -race the range is Go heap memory, since the race detector follows no other: nothing is
// bound or discarded then, only cleared (backing_race.go). With -race or -tags invariants the
// equations in the comments are checked (check.go), and clean runs are read to see that they are
// zero. Outside Linux, New returns an error that is errors.ErrUnsupported.
package arena
