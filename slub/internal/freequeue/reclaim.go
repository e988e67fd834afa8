package freequeue

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
)

// StartAll starts the grace period of everything that is open. A chain waits until the one before
// it has been reclaimed.
func (q *Queue) StartAll() { q.start(false) }

// start is StartAll, if all is set also for a chain behind one that waits.
func (q *Queue) start(all bool) {
	for i := range q.nodes {
		q.nodes[i].start(q.cfg.Domain, q.cfg.Links, all)
	}
}

// ReclaimReady reclaims what is ready, unless another goroutine does. Destructors run.
func (q *Queue) ReclaimReady() {
	if q.reclaiming.TryLock() {
		defer q.reclaiming.Unlock()
		q.reclaimLocked(context.Background(), math.MaxInt)
	}
}

// reclaimAndWait reclaims what is ready. When it returns nil, another goroutine that was reclaiming
// has also dealt with what it had taken. If ctx ends first, which it may while that goroutine is in
// a slow destructor, the error is ctx's.
func (q *Queue) reclaimAndWait(ctx context.Context) error {
	if err := lock.Context(ctx, &q.reclaiming); err != nil {
		return err
	}
	defer q.reclaiming.Unlock()
	if !q.reclaimLocked(ctx, math.MaxInt) {
		return ctx.Err()
	}
	return nil
}

// Poll reclaims up to MaxPoll ready objects, unless another goroutine does. It makes no system
// call of its own. Costs a load if nothing waits.
func (q *Queue) Poll() {
	if q.Pending() > 0 && q.reclaiming.TryLock() {
		defer q.reclaiming.Unlock()
		q.reclaimLocked(context.Background(), MaxPoll)
	}
}

// reclaimLocked reclaims up to most ready objects of those that are started now: others may start
// pages faster than a loop would reclaim them. A chain goes as a whole. When ctx ends it stops
// between two pages or batches, and returns false. The caller holds reclaiming.
func (q *Queue) reclaimLocked(ctx context.Context, most int) (all bool) {
	for i := range q.nodes {
		n := &q.nodes[i]
		last := n.youngest()
		for page := n.readyPage(q.cfg.Domain); page != nil && most > 0; page = n.readyPage(q.cfg.Domain) {
			if ctx.Err() != nil {
				return false
			}
			k := min(page.n, most)
			most -= k
			done := page == last && k == page.n
			if q.reclaimPage(n, page, k); done {
				break
			}
		}
		if most > 0 && !q.reclaimChain(ctx, n, n.takeReadyChain(q.cfg.Domain)) {
			return false
		}
	}
	return true
}

// reclaimPage reclaims k objects of a node's first started page. They are removed before, and the
// page with its last object: whatever a destructor does, none is called twice, and no empty page
// stays.
func (q *Queue) reclaimPage(n *nodeQueue, page *ptrPage, k int) {
	objs, bytes := page.take(k)
	if page.n == 0 {
		n.removeFirst()
		defer pages.put(page) // later, since objs lies in it
	}
	q.reclaim(objs, bytes)
}

// reclaimChain reclaims the objects of a node's chain in batches. What is left when a destructor
// ends the goroutine, or when ctx ends, goes back.
func (q *Queue) reclaimChain(ctx context.Context, n *nodeQueue, c chain) (all bool) {
	if c.n == 0 {
		return true
	}
	defer func() { n.putBack(q.cfg.Links, c) }()
	batch, each := q.batch[:], c.bytes/int64(c.n)
	for c.n > 0 && ctx.Err() == nil {
		k := 0
		for k < len(batch) && c.n > 0 {
			obj := c.head
			next, ok := q.cfg.Links.Next(obj) // before obj is free
			batch[k] = mem.Ptr(obj)
			k++
			c.n--
			if c.head = next; c.n > 0 && (!ok || next == 0) {
				// Last, also if a destructor ends the goroutine: it may end it itself.
				defer q.cfg.Lost(obj)
				q.cfg.Backlog.Release(c.bytes - int64(k)*each)
				q.done.Add(int64(c.n))
				c.n = 0
			}
		}
		c.bytes = int64(c.n) * each
		q.reclaim(batch[:k], int64(k)*each)
	}
	return c.n == 0
}

// reclaim has objects reclaimed whose grace period is over, and for which the given bytes are
// charged. Each Add is counted down once, whatever happened to the object meanwhile: an object
// that was given twice was charged twice.
func (q *Queue) reclaim(objs []unsafe.Pointer, bytes int64) {
	q.cfg.Backlog.Release(bytes)
	defer q.done.Add(int64(len(objs))) // even if a destructor ends the goroutine
	q.cfg.Reclaim(objs)
}

// Barrier returns when every object given before the call is reclaimed, or with an error that
// wraps ctx.Err() or one of rcu's. It waits for a grace period if anything is pending. Not from
// Reclaim, a callback of the Domain or an online reader.
func (q *Queue) Barrier(ctx context.Context) error {
	if q.Pending() == 0 {
		return nil
	}
	select {
	case q.barrier <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another Barrier is under way: %w", ctx.Err())
	}
	if err := q.startAndReclaim(ctx); err != nil {
		return err
	}
	if q.callbacks.Load() > 0 {
		return q.cfg.Domain.Barrier(ctx)
	}
	return nil
}

// startAndReclaim is the part of Barrier for which it fills q.barrier.
func (q *Queue) startAndReclaim(ctx context.Context) error {
	defer func() { <-q.barrier }() // even if a destructor ends the goroutine
	q.start(true)
	if err := q.cfg.Domain.Synchronize(ctx); err != nil {
		return err
	}
	return q.reclaimAndWait(ctx)
}

// Close calls Barrier until nothing is pending: destructors may have added more, also those that
// another goroutine was calling. From then on the queue calls nothing and nothing calls it, unless
// Add is called again. Errors as for Barrier; Close may then be called again.
func (q *Queue) Close(ctx context.Context) error {
	for q.Pending() > 0 {
		if err := q.Barrier(ctx); err != nil {
			return err
		}
	}
	// Wait for a goroutine that has reclaimed the last objects and still returns their page.
	if err := q.reclaimAndWait(ctx); err != nil {
		return err
	}
	q.timer.Stop()
	return q.cfg.Backlog.Remove(ctx, q)
}
