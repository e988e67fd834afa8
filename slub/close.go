package slub

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// Shrink gives back what the cache holds without need: the CPUs' sheaves, the
// barns, the empty slabs, and with them all idle pages of the arena. It returns how
// many slabs are left. Objects that wait for a grace period stay.
// (Kernel: kmem_cache_shrink.)
func (c *Cache) Shrink() (slabs int) {
	c.drain()
	if c.sheaves != nil && !c.closed.Load() {
		c.sheaves.Shrink()
	}
	left := c.slabs.shrink()
	c.slabs.arena.Purge(0)
	return left
}

// Barrier returns when every object given to FreeRCU or FreeDeferred before the call is
// free, its destructor run. It must not be called by a registered reader that is online, nor
// from RCUDtor or a hook. Errors: that of ctx; rcu.ErrInCallback. (Kernel:
// kvfree_rcu_barrier_on_cache.)
func (c *Cache) Barrier(ctx context.Context) error {
	if c.sheaves != nil {
		if err := c.sheaves.Barrier(ctx); err != nil {
			return fmt.Errorf("slub: cache %q: %w", c.name, err)
		}
	}
	if err := c.rcuQueue.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	c.drainWait() // last, for destructors may have given some
	return nil
}

// barrierRetired waits for the slabs of a TypesafeByRCU cache.
func (c *Cache) barrierRetired(ctx context.Context) error {
	if c.slabs.retired.Load() == 0 {
		return nil
	}
	if err := c.domain.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	return nil
}

// Close ends the cache: it waits for the grace periods of what FreeRCU was given,
// gives all free objects and slabs back and takes the cache off the list. Allocations
// return ErrClosed from then on.
//
// If objects are still in use their slabs stay, Close says how many and where
// (wrapping ErrBusy), and they may still be freed and Close called again. An object whose
// free is under way on another goroutine counts as in use until it is back. An Alloc that
// Close overtakes, which is not allowed, returns ErrClosed or an object that Close reports:
// nothing is lost by it. With success
// the counters of Stats end too, and Close does nothing any more. A cache with aliases
// only leaves them: leaks show when the last one is closed. The rules of Barrier
// apply, and its errors. (Kernel: kmem_cache_destroy.)
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.gone {
		return nil
	}
	// First, as in kmem_cache_destroy: where a Barrier is forbidden nothing is closed
	// by halves.
	if err := c.Barrier(context.Background()); err != nil {
		return err
	}
	if !caches.leave(c) {
		c.gone = true
		c.pop.Pass(func() (unsafe.Pointer, error) { return nil, ErrClosed })
		return nil
	}
	// Who allocates all the same takes a slab first and then looks at closed, as this stores
	// closed first and then counts slabs: either he gives the objects back, or they are
	// found in use. Slabs that get empty stay no more, for nobody comes for them later.
	first := !c.closed.Swap(true)
	c.slabs.keep.Store(0)
	if first && c.sheaves != nil {
		c.sheaves.Close()
	}
	if err := c.rcuQueue.Close(); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	// Nobody uses the cache any more but its own hooks.
	for c.drainWait(); !c.deferFree.empty(); {
		c.drainWait()
	}
	for tries := 1; c.slabs.shrink() > 0; tries++ {
		if err := c.leak(tries == patience); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.barrierRetired(context.Background()); err != nil {
		return err
	}
	c.gone = true
	caches.remove(c)
	c.forget()
	return nil
}

// forget gives the pages of the bookkeeping back, which stay mapped for whoever still
// uses the cache. Where the kernel refuses they stay resident, a few KiB.
func (c *Cache) forget() {
	_ = c.slabs.counters.Forget()
	if c.sheaves != nil {
		_ = c.sheaves.Forget()
	} else {
		_ = c.stacks.Forget()
	}
}

// maxListed is how many leaked objects an error names: enough for a person to look
// for, short enough for a log.
const maxListed = 8

// patience is how many milliseconds Close goes on looking when there are slabs but no
// objects in use: a free on another goroutine is just giving one back. It has an end for
// the sake of programs that have freed objects twice, whose slabs count wrong.
const patience = 1000

// leak describes the objects that are still in use. If there are none, the result is nil
// but for the last time.
func (c *Cache) leak(last bool) error {
	count := 0
	var where strings.Builder
	for s := range c.slabs.all() {
		for obj := range c.slabs.inUse(s) {
			if count++; count <= maxListed {
				fmt.Fprintf(&where, " %#x", obj)
			}
		}
	}
	switch {
	case count == 0 && !last:
		return nil
	case count == 0:
		return fmt.Errorf("%w: cache %q: no object is, but slabs are not back", ErrBusy, c.name)
	}
	if count > maxListed {
		where.WriteString(" ...")
	}
	return fmt.Errorf("%w: cache %q: %d objects of %d bytes:%s", ErrBusy, c.name, count, c.config.Size, where.String())
}
