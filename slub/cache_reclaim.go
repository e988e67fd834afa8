package slub

import (
	"errors"
	"math"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// What an allocation does before it fails with ErrNoMemory, while memory is only kept somewhere:
// one round over everything that keeps some (arena.Reclaim; at the limit of a Group one over its
// caches, see the function relieve), then a last attempt. It is started where the error has come
// back to the caller's own frame: no lock is held there, and no sheaf of the caller's is in
// between. AllocNoWait has no such place.

// relieve is the function relieve for n objects of the cache.
func (c *Cache) relieve(err error, n int, again func() error) error {
	return relieve(err, c.config.Group, c.Arena(), c.bytesOf(n), c.giveBackFirst, again)
}

// shortOfMemory reports whether an allocation with that error may succeed once memory has been
// given back.
func shortOfMemory(err error) bool {
	return errors.Is(err, ErrNoMemory) && !errors.Is(err, arena.ErrTooLarge) && !errors.Is(err, arena.ErrExcluded)
}

// limit returns the bytes that nothing can exceed which the cache allocates.
func (c *Cache) limit() int64 { return min(c.Arena().Limit(), c.config.Group.least()) }

// most returns the bytes that nothing can exceed which the cache allocates at once from one node.
func (c *Cache) most() int64 { return min(c.Arena().MostAtOnce(), c.config.Group.least()) }

// bytesOf returns the bytes that n objects take, at least a page; Unlimited if that is too large a
// number.
func (c *Cache) bytesOf(n int) int64 {
	if n > math.MaxInt64/int(c.layout.slot) {
		return Unlimited
	}
	return max(int64(n)*int64(c.layout.slot), mem.PageSize)
}

// giveBack gives back what the cache keeps: it is the cache's arena.Reclaimer. If the cache keeps
// nothing it costs some loads for each CPU, and no lock.
func (c *Cache) giveBack() (objects int) { return c.giveBackFirst() + c.slabs.FreeEmpty() }

// giveBackFirst gives back what the cache keeps, but no empty slabs: the next allocation from the
// cache itself finds objects there.
//
// What waits for a grace period is not waited for, since the caller may be a reader. Its grace
// period is expedited, so that a later allocation finds it. What Locals hold they give back with
// their next operations.
func (c *Cache) giveBackFirst() (objects int) {
	if n := c.deferFree.pending(); n > 0 {
		c.drainSoon()
		objects += int(max(0, n-c.deferFree.pending()))
	}
	if n := c.freeQueue.Pending(); n > 0 {
		c.freeQueue.ReclaimReady()
		objects += int(max(0, n-c.freeQueue.Pending()))
	}
	if c.sheaves != nil {
		objects += c.sheaves.GiveBack()
	}
	c.locals.ask(nil)
	objects += c.emptyQuarantine(false)
	c.backlog.Expedite()
	return objects
}
