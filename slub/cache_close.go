package slub

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/guard"
)

// Shrink gives cached memory back: it empties the CPUs' sheaves and the barns, frees empty slabs,
// and discards all idle pages of the arena. It returns the number of slabs left. Objects that wait
// for a grace period stay; Locals give theirs back with their next operation. Any goroutine. In a
// callback it leaves the CPUs' sheaves alone if another call of Shrink, SetSheafCapacity or Close
// is under way for the cache, since that may have called the callback. It visits every CPU and
// every barn and calls madvise. (Kernel: kmem_cache_shrink.)
func (c *Cache) Shrink() (slabs int) {
	left := c.shrinkSlabs()
	c.slabs.Arena().Purge(0)
	c.reportFound()
	return left
}

// shrinkSlabs is Shrink without the arena's pages.
func (c *Cache) shrinkSlabs() (slabs int) {
	c.drain(drainAll)
	c.locals.ask(nil)
	c.emptyQuarantine(false)
	switch {
	case c.sheaves == nil || c.closed.Load():
	case callback.Inside():
		c.sheaves.TryShrink()
	default:
		c.sheaves.Shrink()
	}
	return c.slabs.Shrink()
}

// Barrier waits until every object given to FreeRCU or FreeDeferred before the call is free and
// its destructor has returned. It waits for a grace period, a few milliseconds with healthy
// readers. An online reader of the Domain must not call it, nor RCUDtor or a hook. Errors:
// ctx.Err(); rcu.ErrInCallback. (Kernel: kvfree_rcu_barrier_on_cache.)
func (c *Cache) Barrier(ctx context.Context) error {
	if callback.Inside() {
		return c.inCallback()
	}
	return c.barrier(ctx)
}

// inCallback is the error of a call that a callback of some cache makes, and that may wait for
// callbacks: for itself, or for another one that waits for it.
func (c *Cache) inCallback() error {
	return fmt.Errorf("slub: cache %q: %w", c.name, rcu.ErrInCallback)
}

// barrier is Barrier for callers that are no callbacks.
func (c *Cache) barrier(ctx context.Context) error {
	if c.sheaves != nil {
		if err := c.sheaves.Barrier(ctx); err != nil {
			return fmt.Errorf("slub: cache %q: %w", c.name, err)
		}
	}
	if err := c.freeQueue.Barrier(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	// Last, since destructors may have called FreeDeferred.
	if err := c.drainWait(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	return nil
}

// barrierPages waits until the retired slabs of a TypesafeByRCU cache are back in the arena. The
// callback that gives them back may leave some to another one, which it queues.
func (c *Cache) barrierPages(ctx context.Context) error {
	for c.slabs.Retired() > 0 {
		if err := c.domain.Barrier(ctx); err != nil {
			return fmt.Errorf("slub: cache %q: %w", c.name, err)
		}
	}
	return nil
}

// Close closes the cache. It comes after the last use. It waits for the grace periods of objects
// given to FreeRCU, gives all free objects and slabs back and removes the cache from Caches. From
// then on allocations return ErrClosed. It waits as long as a reader of the Domain holds a grace
// period up, and for another Close of this cache; CloseContext has a deadline. The rules and
// errors of Barrier apply.
//
// If objects are still in use, their slabs stay, and the error, which wraps ErrBusy, gives their
// number and addresses. They may still be freed, and Close called again. An object that another
// goroutine is just freeing counts as in use until it is back. So do the objects of a sheaf that
// Prefill has lent, and those that an open Local holds; only the Local's goroutine can give these
// back. An Alloc that races with Close is a bug of the caller, but loses nothing: it returns
// ErrClosed, or an object that Close reports.
//
// Close of a debug cache looks at its objects as Validate does, and its error wraps a *hooks.Report
// for what was overwritten; if nothing else is wrong the cache is closed then. Close of a hardened
// cache does the same for the first free object of those that were written to.
//
// After a Close without error Stats counts no more, and another Close does nothing. A cache that
// shares its slabs only leaves the group: leaks are found by the Close of the last cache, whose
// error names the others. (Kernel: kmem_cache_destroy.)
func (c *Cache) Close() error { return c.CloseContext(context.Background()) }

// CloseContext is Close that gives up when ctx ends. The error then wraps ctx.Err() and names the
// reader that holds the grace period up. Nothing is lost: the cache is open as before, or closed
// to allocations, and Close and CloseContext may be called again. On a nil *Cache both do
// nothing.
func (c *Cache) CloseContext(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if callback.Inside() {
		return c.inCallback()
	}
	return c.closeContext(ctx)
}

// closeContext is CloseContext for callers that are no callbacks.
func (c *Cache) closeContext(ctx context.Context) error {
	if err := lock.Context(ctx, &c.closeMu); err != nil {
		return fmt.Errorf("slub: cache %q: another Close is under way: %w", c.name, err)
	}
	defer c.closeMu.Unlock()
	if c.finished {
		return nil
	}
	// First, as in kmem_cache_destroy: where a Barrier is not allowed, nothing gets half closed.
	if err := c.barrier(ctx); err != nil {
		return err
	}
	last := caches.removeMember(c)
	c.closed.Store(true)
	c.locals.ask(c)
	if !last {
		c.finished = true
		c.rejectAllocs()
		return nil
	}
	// closed and groupClosed are set: from here on objects are counted, see closeFlag. minPartial
	// becomes 0, since no later operation would free a slab that is kept.
	c.slabs.SetMinPartial(None)
	if err := c.endGracePeriods(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: %w", c.name, err)
	}
	// From here on only the cache's own hooks use it.
	for again := true; again; again = !c.deferFree.empty() {
		if err := c.drainWait(ctx); err != nil {
			return fmt.Errorf("slub: cache %q: %w", c.name, err)
		}
	}
	overwritten := c.closeDebug()
	c.emptyQuarantine(true) // closeDebug has looked at all of it
	for tries := 1; c.slabs.Shrink() > 0; tries++ {
		if err := c.leak(tries == closeRetries); err != nil {
			return errors.Join(err, overwritten)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("slub: cache %q: slabs are not back: %w", c.name, err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.barrierPages(ctx); err != nil {
		return err
	}
	c.finished = true
	c.Arena().RemoveReclaimer(c.reclaimer)
	c.config.Group.leave(c.member)
	caches.remove(c)
	if c.guards() {
		guard.Leave(c.Arena())
	}
	c.freeMetadata()
	return errors.Join(overwritten, c.damage.err())
}

// endGracePeriods closes the sheaves and the queue, which reclaims what waits in them.
func (c *Cache) endGracePeriods(ctx context.Context) error {
	if c.sheaves != nil {
		if err := c.sheaves.CloseContext(ctx); err != nil {
			return err
		}
	}
	return c.freeQueue.Close(ctx)
}

// freeMetadata gives the pages of stacks, counters and barns back. They stay mapped, for a caller
// that still uses the cache, and are used again when there can be none, see lease. If the kernel
// refuses, a few KiB stay resident.
func (c *Cache) freeMetadata() {
	_ = c.counters.Free()
	c.locals.free()
	c.slabs.FreeCounters()
	runtime.AddCleanup(c.shared, percpu.Counters.Recycle, c.counters)
	_ = c.stacks.Free()
	if c.sheaves != nil {
		_ = c.sheaves.FreeCounters()
	}
	if c.lease.n == 1 {
		c.lease.end() // otherwise Buckets.Close does it
	}
}
