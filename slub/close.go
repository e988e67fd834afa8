package slub

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Shrink gives back what the cache holds without need: the CPUs' sheaves, the
// barns, the empty slabs, and with them all idle pages of the arena. It returns how
// many slabs are left. Objects that wait for a grace period stay.
// (Kernel: kmem_cache_shrink.)
func (c *Cache) Shrink() (slabs int) {
	c.drain(drainAll)
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

// barrierPages waits for the slabs of a TypesafeByRCU cache.
func (c *Cache) barrierPages(ctx context.Context) error {
	if c.slabs.deferredSlabs.Load() == 0 {
		return nil
	}
	if err := c.domain.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	return nil
}

// Close ends the cache: it waits for the grace periods of what FreeRCU was given,
// gives all free objects and slabs back and takes the cache off the list. Allocations
// return ErrClosed from then on. It blocks as long as a reader of the Domain does, that of
// another Close too; CloseContext has a deadline.
//
// If objects are still in use their slabs stay, Close says how many and where
// (wrapping ErrBusy), and they may still be freed and Close called again. An object whose
// free is under way on another goroutine counts as in use until it is back, and a sheaf
// that Prefill has lent counts with all it holds. An Alloc that Close overtakes, which is
// not allowed, returns ErrClosed or an object that Close reports: nothing is lost by it.
// With success the counters of Stats end too, and Close does nothing any more. A cache with
// aliases only leaves them: leaks show when the last one is closed, whose error names the
// others. The rules of Barrier apply, and its errors. (Kernel: kmem_cache_destroy.)
func (c *Cache) Close() error { return c.CloseContext(context.Background()) }

// CloseContext is Close as long as ctx lasts. Its error then wraps ctx.Err(), and names the
// reader that is in the way. Nothing is lost: the cache is as it was, or closed to
// allocations if it had come so far, and Close and CloseContext may be called again.
func (c *Cache) CloseContext(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if err := lockContext(ctx, &c.closing); err != nil {
		return fmt.Errorf("slub: cache %q: another Close is under way: %w", c.name, err)
	}
	defer c.closing.Unlock()
	if c.gone {
		return nil
	}
	// First, as in kmem_cache_destroy: where a Barrier is forbidden nothing is closed
	// by halves.
	if err := c.Barrier(ctx); err != nil {
		return err
	}
	last := caches.leave(c)
	c.closed.Store(true)
	if !last {
		c.gone = true
		c.shut()
		return nil
	}
	// Who allocates all the same takes a slab first and then looks at closed, or ended, as
	// these are stored first and slabs counted then: either he gives the objects back, or they
	// are found in use. Slabs that get empty stay no more, for nobody comes for them later.
	c.slabs.keep.Store(0)
	if err := c.endGracePeriods(ctx); err != nil {
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
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("slub: cache %q: slabs are not back: %w", c.name, err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.barrierPages(ctx); err != nil {
		return err
	}
	c.gone = true
	caches.remove(c)
	c.forget()
	return nil
}

// endGracePeriods closes what waits for them.
func (c *Cache) endGracePeriods(ctx context.Context) error {
	if c.sheaves != nil {
		if err := c.sheaves.CloseContext(ctx); err != nil {
			return err
		}
	}
	return c.rcuQueue.Close(ctx)
}

// lockContext locks mu unless ctx ends before. Whoever holds it may wait for grace periods.
func lockContext(ctx context.Context, mu *sync.Mutex) error {
	if ctx.Done() == nil {
		mu.Lock()
		return nil
	}
	for !mu.TryLock() {
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// forget gives the pages of the bookkeeping back, which stay mapped for whoever still
// uses the cache. Where the kernel refuses they stay resident, a few KiB.
func (c *Cache) forget() {
	_ = c.slabs.counters.Forget()
	_ = c.stacks.Forget()
	if c.sheaves != nil {
		_ = c.sheaves.Forget()
	}
}
