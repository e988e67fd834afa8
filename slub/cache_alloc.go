package slub

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub/internal/failslab"
)

// Alloc returns an object of Config.Size bytes. Its content is what its last owner or the
// constructor left there, except for the 8 bytes in which a free object keeps its link; with
// InitOnAlloc it is zero. The caller owns the object until it passes it to one of the Free
// methods.
//
// Any goroutine. The common case is one restartable sequence, which costs about as much as a
// function call. Errors: ErrNoMemory, ErrClosed. (Kernel: kmem_cache_alloc.)
func (c *Cache) Alloc() (unsafe.Pointer, error) { return c.pop.Func()() }

// allocSlow is Alloc when the CPU's main sheaf is empty, or its stack is due for a sample.
func (c *Cache) allocSlow() (unsafe.Pointer, error) {
	if err := c.injected(1); err != nil {
		return nil, err
	}
	c.drain(drainMost)
	dropped := false
	if c.sheaves != nil {
		p, weight := c.sheaves.TryAllocSample()
		if weight > 0 {
			if p = c.allocOneSampled(c.localNodeNow(), weight); p == nil {
				dropped = true
				p = c.sheaves.TryAlloc()
			}
		}
		if p != nil {
			return p, nil
		}
	}
	c.freeQueue.Poll()
	return c.allocSlab(c.localNodeNow(), false, dropped)
}

// allocSlab takes an object directly from a slab (kernel: ___slab_alloc). drawn says that the
// allocation was picked before, in vain: then it is not sampled here.
func (c *Cache) allocSlab(node int, strict, drawn bool) (unsafe.Pointer, error) {
	if !drawn {
		if weight := c.sampler.pick(c.layout.slot); weight > 0 {
			if p := c.allocOneSampled(node, weight); p != nil {
				return p, nil
			}
		}
	}
	// It is counted afterwards, since a constructor, hook or report may not return.
	var one [1]unsafe.Pointer
	err := c.takeSlabs(node, one[:], strict)
	if err != nil {
		c.count(singleFailed, 1)
	}
	c.count(AllocSlowpath, 1)
	return one[0], err
}

// takeSlabs fills dst from slabs, or takes nothing and returns the reason. Before it fails for lack
// of memory it has caches give back what they keep.
func (c *Cache) takeSlabs(node int, dst []unsafe.Pointer, strict bool) error {
	err := c.tryTakeSlabs(node, dst, strict)
	if err != nil {
		err = c.takeRelieved(err, node, dst, strict)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrClosed) {
		return c.failClosed()
	}
	err = c.failed(err)
	return fmt.Errorf("slub: cache %q: %w%s", c.name, err, c.backlog.blame(c.Arena(), c.domain))
}

// takeRelieved is takeSlabs after an attempt that has failed with err. It fills a slice of its own:
// if dst were in the function that relieve gets, every dst would have to be on the heap.
func (c *Cache) takeRelieved(err error, node int, dst []unsafe.Pointer, strict bool) error {
	objs := make([]unsafe.Pointer, len(dst))
	err = c.relieve(err, len(objs), func() error { return c.tryTakeSlabs(node, objs, strict) })
	copy(dst, objs)
	return err
}

// tryTakeSlabs fills dst from slabs, or takes nothing and returns the reason, which is ErrClosed, a
// *GroupError or the arena's.
func (c *Cache) tryTakeSlabs(node int, dst []unsafe.Pointer, strict bool) error {
	var n int
	var err error
	c.delay(failslab.Refill)
	open := c.closed.whileOpen(func() { n, err = c.slabs.Take(node, dst, strict) })
	if open && n == len(dst) {
		return nil
	}
	c.slabs.FreeBulk(dst[:n])
	clear(dst[:n])
	if !open {
		return ErrClosed
	}
	return err
}

// localNode returns the index of the calling CPU's node.
func (c *Cache) localNode() int { return c.nodeOf.Index(percpu.CPU()) }

// localNodeNow is localNode for callers that are about to ask for memory of the node. It may make a
// system call.
func (c *Cache) localNodeNow() int {
	cpu := percpu.CPUNow()
	if !c.nodeOf.Known(cpu) { // with sheaves these have asked
		c.nodes.Find(cpu)
	}
	return c.nodeOf.Index(cpu)
}

// AllocZero is Alloc with the object's Size bytes zeroed, including what a constructor put there.
// Cost and errors: as Alloc. (Kernel: kmem_cache_zalloc.)
func (c *Cache) AllocZero() (unsafe.Pointer, error) { return c.allocZero(uintptr(c.config.Size)) }

// allocZero is Alloc with the object's first n bytes zeroed, before a hook sees it.
func (c *Cache) allocZero(n uintptr) (unsafe.Pointer, error) {
	for {
		p, err := c.popLooking()
		switch {
		case err != nil:
		case !c.instrumented():
			mem.Zero(uintptr(p), n)
		case !c.onAlloc(p, n):
			continue
		}
		return p, err
	}
}
