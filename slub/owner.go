package slub

import "github.com/slubd/slubd/internal/percpu"

// An owner is the owner word that the arena keeps for every page of a slab or a large
// object: whose it is, and on which node it lies. One load and one comparison, with the
// owner whose objects a CPU's stack takes, thus tell Free both. (Kernel: slab->slab_cache and
// page_to_nid.)
//
//	bits 0..7    index of the node
//	bits 8..29   number of the cache, or of Buckets; see registry
//	bit 31       careful
//
// 0 is that of pages that nobody has. Packages arena, percpu and sheaves carry owners as
// uint32, and know no more of them than where the number begins (percpu.NodeBits).
type owner uint32

const (
	// careful marks a slab of less than the preferred order: the quick check of Free,
	// which assumes that order, must not accept its objects, and no stack has this mark.
	careful owner = 1 << 31
	// nobody is the owner of pages that are still used and hold no object of anybody.
	nobody = careful

	maxNodes = 1 << percpu.NodeBits
	// maxCaches is what there is room for beside the node: 4 million.
	maxCaches = (percpu.MaxOwn + 1) / maxNodes
)

// ownerOf returns the owner of what the cache with this number has on a node.
func ownerOf(id uint32, node int) owner { return owner(id<<percpu.NodeBits | uint32(node)) }

// id returns the number of the cache or the Buckets.
func (o owner) id() uint32 { return uint32(o.plain()) >> percpu.NodeBits }

// node returns the index of the node.
func (o owner) node() int { return int(o % maxNodes) }

// careful reports whether Free has to look closer.
func (o owner) careful() bool { return o&careful != 0 }

// plain returns o without marks, as a stack has it.
func (o owner) plain() owner { return o &^ careful }
