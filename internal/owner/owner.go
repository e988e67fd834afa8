// Package owner defines the owner word: the 32 bits that say which cache a page belongs to, and
// on which NUMA node the page lies.
//
// # Place in the data flow
//
//	slub/internal/slab, slub (large objects) -> [owner.Word of every page] -> arena's page map
//	slub.Free, FreeRCU -> percpu.Filter loads the page's word -> the CPU's stack compares its own
//
// The arena keeps one word for each page. It is written when a run becomes a slab or a large
// object, before any address inside is handed out, and cleared when the run is freed. Every
// per-CPU stack has the word of the objects that may be pushed to it. So one load and one
// comparison tell a Free that the object is the cache's and lies on the CPU's node. (Kernel:
// slab->slab_cache and page_to_nid.)
//
// # Layout
//
//	bits 0..7    index of the node in the arena's topology
//	bits 8..29   number of the cache, or of the Buckets for a large object; never 0
//	bit  30      never set: a stack's gate has a bit here while its lock is held (percpu)
//	bit  31      NonDefaultOrder
//
// The word 0 is that of a page without an owner.
//
// # Not allowed
//
// A word with a flag on a stack: objects of such pages must take the slow path.
package owner

// A Word is the owner word of a page.
type Word uint32

const (
	// NodeBits is how many bits of a word hold the node; the cache's number is above them.
	NodeBits = 8
	// Max is the largest word without flags, and so the largest that a stack can have.
	Max = 1<<30 - 1

	// MaxNodes is the number of nodes that a word can tell apart.
	MaxNodes = 1 << NodeBits
	// MaxCaches is the number of caches that a word can tell apart, 0 included: 4 million.
	MaxCaches = (Max + 1) / MaxNodes
)

const (
	// NonDefaultOrder marks a slab of less than its cache's preferred order. The quick check of
	// Free assumes that order, and must not accept objects of such a slab.
	NonDefaultOrder Word = 1 << 31
	// Retired is the word of pages that are still in use, but whose objects are all gone: those
	// of a slab that waits for a grace period before the arena gets it back. No cache has it.
	Retired = NonDefaultOrder
	// Freed marks the head page of a large object that has been freed, or given to FreeRCU, and
	// whose pages are not back in the arena yet. Large objects have no slab order to mark.
	Freed = NonDefaultOrder
)

// Of returns the word of what the cache with the number id has on the node with the given index.
func Of(id uint32, node int) Word { return Word(id<<NodeBits | uint32(node)) }

// ID returns the number of the cache or the Buckets, 0 for none.
func (w Word) ID() uint32 { return uint32(w.WithoutFlags()) >> NodeBits }

// Node returns the index of the node.
func (w Word) Node() int { return int(w % MaxNodes) }

// HasFlags reports whether a Free must look at the page's run before it accepts an object.
func (w Word) HasFlags() bool { return w&NonDefaultOrder != 0 }

// WithoutFlags returns the word that stacks compare with.
func (w Word) WithoutFlags() Word { return w &^ NonDefaultOrder }
