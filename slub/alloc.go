package slub

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// Alloc returns an object of Config.Size bytes. Its content is what the last owner
// or the constructor left, but for the 8 bytes where a free object keeps its link;
// with InitOnAlloc it is zero.
//
// The common case is one restartable sequence: about the cost of a function call.
// Errors: ErrNoMemory, ErrClosed; both are found before any memory is touched.
// (Kernel: kmem_cache_alloc.)
func (c *Cache) Alloc() (unsafe.Pointer, error) { return c.pop.Func()() }

// allocSlow is what Alloc comes to when the CPU's main sheaf has nothing.
func (c *Cache) allocSlow() (unsafe.Pointer, error) {
	c.drain(drainMost)
	if c.sheaves != nil {
		if p := c.sheaves.Alloc(); p != nil {
			return p, nil
		}
	}
	c.rcuQueue.poll()
	return c.allocSlab(c.localNode(), false)
}

// allocSlab takes an object directly from a slab (kernel: ___slab_alloc).
func (c *Cache) allocSlab(node int, strict bool) (unsafe.Pointer, error) {
	c.slabs.count(AllocSlowpath, 1)
	var one [1]unsafe.Pointer
	if err := c.takeSlabs(node, one[:], strict); err != nil {
		c.slabs.count(singleFailed, 1)
		return nil, err
	}
	return one[0], nil
}

// takeSlabs fills dst from slabs, or takes nothing and says why.
func (c *Cache) takeSlabs(node int, dst []unsafe.Pointer, strict bool) error {
	if c.closed.Load() {
		return c.failClosed()
	}
	n, err := c.slabs.take(node, dst, strict)
	overtaken := c.closed.Load()
	if n == len(dst) && !overtaken {
		return nil
	}
	c.slabs.count(allocFailed, 1)
	c.slabs.freeBulk(dst[:n])
	clear(dst[:n])
	if overtaken {
		return ErrClosed
	}
	return fmt.Errorf("slub: cache %q: %w", c.name, err)
}

// localNode is the index of the calling CPU's node.
func (c *Cache) localNode() int { return c.nodeOf[percpu.CPU()] }

// AllocZero is Alloc with the object's Size bytes zeroed. On caches with a
// constructor that undoes its work. (Kernel: kmem_cache_zalloc.)
func (c *Cache) AllocZero() (unsafe.Pointer, error) {
	p, err := c.bare.Func()()
	switch {
	case err != nil:
	case c.wrapped():
		c.allocated(p, true)
	default:
		mem.Zero(uintptr(p), c.config.Size)
	}
	return p, err
}

// AllocNode returns an object that lies on the given node, or an error: it does not
// fall back on others. On the calling CPU's own node it is nearly as fast as Alloc;
// elsewhere it goes to the slabs. numa.NoNode makes it Alloc.
//
// Errors: ErrNode for a node that the topology doesn't have; ErrNoMemory for one without
// memory; as Alloc. (Kernel: kmem_cache_alloc_node with __GFP_THISNODE.)
func (c *Cache) AllocNode(node numa.Node) (unsafe.Pointer, error) {
	if node == numa.NoNode {
		return c.Alloc()
	}
	i := c.slabs.topology.Index(node)
	if i < 0 {
		return nil, fmt.Errorf("%w: cache %q: node %d", ErrNode, c.name, node)
	}
	if c.closed.Load() {
		return nil, c.failClosed()
	}
	var p unsafe.Pointer
	var err error
	if c.sheaves != nil {
		p = c.sheaves.AllocNode(i)
	}
	switch {
	case p != nil:
	case !c.slabs.topology.HasMemory(node):
		// The arena has a range for it all the same, whose pages lie elsewhere.
		c.slabs.count(allocFailed, 1)
		return nil, fmt.Errorf("slub: cache %q: node %d: %w", c.name, node, ErrNoMemory)
	default:
		p, err = c.allocSlab(i, true)
	}
	if err == nil && c.wrapped() {
		c.allocated(p, false)
	}
	return p, err
}
