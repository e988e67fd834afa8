// Package arena is where pages come from: runs of 1 to 1024 pages, a power of
// two, from address ranges that belong to one NUMA node each.
//
//	slub (slabs, large objects) -> arena (page runs) -> numa (mbind) -> internal/sys (mmap)
//
// # The range
//
// An arena reserves one range of addresses, in equal parts for the nodes, each
// part a power of two and bound to its node once. So the node of an address is
// a subtraction and a shift, and a page number reaches everything else:
//
//	base                 base+span            base+2*span
//	 | node 0               | node 1               |
//	 +------+------+- - - - +------+- - - - - - - -+
//	 | 4 MiB| 4 MiB| virgin | 4 MiB|     virgin    |    the range, up to 16 TiB
//	 +------+------+- - - - +------+- - - - - - - -+
//	    |
//	    +-- page p: metas[p]   32 bytes, see Meta     \
//	                owners[p]   4 bytes, see Owner     > the page map, off-heap
//	                states[p]   1 byte, see Head      /
//
// Neither costs memory before it is used, and neither is ever unmapped once it
// was: a stale pointer reads zeroes or somebody else's object of this arena,
// but not the Go heap.
//
// # States of a page
//
// A binary buddy allocator per node (zone.go) moves blocks between these:
//
//	             carve               take, hand
//	  virgin ----------->  clean  ------------------>  used
//	                         ^                         |  ^
//	          sys.Discard,   |                         |  | take, hand
//	               attach    |       detach    release v  |
//	                      leaving <------------------ dirty
//
//	virgin    never carved: bump or above. Reads zero.
//	clean     free and all zero: virgin until carved, or discarded since.
//	used      part of an allocated run; its owner's.
//	dirty     free and perhaps resident: used since it was last clean.
//	leaving   being discarded, in no list. Back to dirty if the kernel refuses.
//
// Alloc takes dirty blocks first, then clean ones, then carves 4 MiB more; a run
// from a clean block has Run.Zero. Free leaves a run dirty and discards, largest
// first, what exceeds Config.MaxDirty; what nobody needs for Config.Decay a timer
// discards, oldest first and at a limited rate (idle.go, decay.go).
//
// The limit is on used, dirty and leaving bytes (limit.go), which is what can
// be resident, but for huge pages that reach into clean neighbours. Above it
// Alloc discards dirty blocks before it fails, as it does to merge what a node
// has left when its range is full.
//
// The Go runtime's own limit knows nothing of all this; CoupleGoMemLimit makes it
// give way to what the arenas hold (gomemlimit.go).
//
// What is larger than a run is a mapping (mapping.go): found by its address, bound
// to a node like the range, counted in the same ledger, discarded when it is freed.
//
// # Lock order
//
//	Arena.big.mu         a leaf
//	Arena.purging        held across discards; system calls happen under it
//	  zone.mu            one at a time; loads and stores only
//	  coupling.mu        the Go runtime's memory limit is set under it
//
// Alloc takes purging only when it must discard to succeed, Free only tries.
// Head, Owner, NodeOf and the like take no lock (owner.go argues why).
//
// # Not allowed
//
// To touch a run after Free; its pages may be another's, or about to be
// discarded. To free a run by any page but its head (panics). To keep Go
// pointers in a run, which the collector would not see.
//
// # Builds
//
// With -race the range is Go heap memory, as the race detector follows no
// other: nothing is bound or discarded there, only cleared (backing_race.go).
// With -race or -tags invariants the equations in the comments are checked
// (check.go), and clean runs are read to see that they are. Outside Linux New
// returns an error that is errors.ErrUnsupported.
package arena
