package slub

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// MallocNode is Malloc of bytes that lie on the given node, or an error: it does not fall back on
// other nodes. Up to 32 KiB it costs about as much as Cache.AllocNode; larger objects are
// page runs or mappings. With numa.NoNode
// it is Malloc. Any goroutine.
//
// Errors: Malloc's; ErrNode for a node that the topology doesn't have. ErrNoMemory also for a node
// without memory, and ErrPlacement as AllocNode. (Kernel: kmalloc_node with __GFP_THISNODE.)
func (b *Buckets) MallocNode(n int, node numa.Node) (unsafe.Pointer, error) {
	switch topology := b.arena.Topology(); {
	case n <= 0 || node == numa.NoNode:
		return b.alloc(n, 1)
	case n <= maxClass:
		c := b.class(n, 1)
		p, err := c.AllocNode(node)
		c.limitTo(n, p, err)
		return p, err
	case topology.Index(node) < 0:
		return nil, fmt.Errorf("%w: buckets %q: node %d", ErrNode, b.config.name(), node)
	case !topology.HasMemory(node):
		// The arena has a range for this node, too, but its pages lie on other nodes.
		return nil, fmt.Errorf("slub: buckets %q: node %d: %w", b.config.name(), node, ErrNoMemory)
	}
	if e := b.caches[0].misplaced(b.arena.Topology().Index(node)); e != nil {
		return nil, fmt.Errorf("slub: buckets %q: %w", b.config.name(), e)
	}
	return b.allocNoClass(n, node)
}

// MallocAligned is Malloc of bytes whose address is a multiple of align, a power of two up to 4096.
// It takes the smallest class that is aligned so: up to 32 KiB that costs some memory, above it
// nothing, since larger objects are aligned to pages. Realloc does not keep the alignment of what
// it moves. Any goroutine. It costs what Malloc costs without its sequence, some nanoseconds more.
//
// Errors: Malloc's; ErrConfig for another align. (Kernel: kvmalloc_node_align.)
func (b *Buckets) MallocAligned(n, align int) (unsafe.Pointer, error) {
	if align < 1 || align > mem.PageSize || !mem.IsPow2(uintptr(align)) {
		return nil, configerr.New(fmt.Sprintf("slub: buckets %q: ", b.config.name()), ErrConfig,
			"MallocAligned", "%d is no power of two up to %d", align, mem.PageSize)
	}
	room := n
	if 0 < n && n <= maxClass {
		room = alignedClass(n, uintptr(align))
	}
	p, err := b.alloc(room, 1)
	if err == nil && n < room {
		b.allow(p, uintptr(n), uintptr(room))
	}
	return p, err
}

// alignedClass returns the size of the smallest class of at least n bytes, 1 to maxClass, that is
// aligned to align, at most a page. The largest class is.
func alignedClass(n int, align uintptr) int {
	class := classOf(uint(n))
	for classAlign(classSizes[class]) < align {
		class++
	}
	return int(classSizes[class])
}
