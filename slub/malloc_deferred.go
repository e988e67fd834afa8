package slub

import (
	"context"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
)

// A deferLarge is the list of the large objects given to FreeDeferred, which deferFree is for the
// caches' objects.
//
// An object comes to the list claimed, so it is there once, and belongs to the list. A page run is
// linked by the first word of its Meta, a mapping by its entry in largeObjects.mine: unlike a link
// in the object, neither can be damaged by a write after the free.
//
// Any goroutine pushes a run, by compare-and-swap. A drain takes the whole list at once, so a push
// can't mistake a head that was taken and pushed again for one that stayed (the ABA problem). The
// swap that takes the list pairs with the push, before which the run's link is written.
type deferLarge struct {
	pending  atomic.Int64  // objects given, not free yet; raised before the object is listed
	runs     atomic.Uint32 // head page of the first run + 1; 0: none
	mappings uintptr       // address of the first mapping; 0: none. Under largeObjects.mu

	draining     sync.Mutex  // held by a drain, while Free hooks are called: operations try
	busy         atomic.Bool // a drain is running, and may have an object in hand. Under draining
	restRuns     uint32      // taken off runs, not free yet. Under draining
	restMappings uintptr     // taken off mappings, not free yet. Under draining
}

// FreeDeferred is a Free that never waits, for hooks, destructors, finalizers and code that runs
// under a lock; see Cache.FreeDeferred. The object is freed, and its hook called, by a later
// Malloc, by Shrink, Barrier or Close, and by a timer within two seconds.
//
// Up to 1 MiB it costs what Cache.FreeDeferred costs, and keeps its promises. So it does up to 4
// MiB. Above that it looks the mapping up, under a lock that is held for no longer than that. nil
// and the address of no bytes are ignored. Any goroutine. (Kernel: kfree_nolock.)
func (b *Buckets) FreeDeferred(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeDeferred(p)
		return
	}
	l, ok := b.claimOrReport(p)
	if !ok {
		return
	}
	d := &b.large.deferred
	d.pending.Add(1)
	if l.mapped {
		b.large.mu.Lock()
		state := b.large.mine[l.addr]
		state.next = d.mappings
		b.large.mine[l.addr] = state
		d.mappings = l.addr
		b.large.mu.Unlock()
		return
	}
	for next := b.nextDeferred(l.page); ; {
		head := d.runs.Load()
		*next = head
		if d.runs.CompareAndSwap(head, l.page+1) {
			return
		}
	}
}

// nextDeferred returns where a claimed run keeps its link.
func (b *Buckets) nextDeferred(page uint32) *uint32 { return (*uint32)(b.arena.Meta(page)) }

// drainLarge frees the listed objects, unless another drain is running.
func (b *Buckets) drainLarge() {
	if d := &b.large.deferred; d.pending.Load() > 0 && d.draining.TryLock() {
		defer d.draining.Unlock()
		_ = b.drainLargeLocked(context.Background())
	}
}

// drainLargeSoon is drainLarge for a round of reclaim. If another drain is running it waits for
// that, at most lock.MaxWait: what the other one has in hand is neither listed nor free.
func (b *Buckets) drainLargeSoon() {
	if d := &b.large.deferred; lock.Soon(&d.draining) {
		defer d.draining.Unlock()
		_ = b.drainLargeLocked(context.Background())
	}
}

// drainLargeWait returns when every large object given to FreeDeferred before the call is free, or
// when ctx ends, with its error.
func (b *Buckets) drainLargeWait(ctx context.Context) error {
	d := &b.large.deferred
	if err := lock.Context(ctx, &d.draining); err != nil {
		return err
	}
	defer d.draining.Unlock()
	return b.drainLargeLocked(ctx)
}

// drainLargeLocked frees what an earlier drain has left, and then what is listed now. It takes the
// lists only once: other goroutines may push faster than a loop would free. When ctx ends it stops
// between two objects. The caller holds draining.
func (b *Buckets) drainLargeLocked(ctx context.Context) error {
	d := &b.large.deferred
	d.busy.Store(true)
	defer d.busy.Store(false)
	if err := b.freeRest(ctx); err != nil {
		return err
	}
	d.restRuns = d.runs.Swap(0)
	b.large.mu.Lock()
	d.restMappings, d.mappings = d.mappings, 0
	b.large.mu.Unlock()
	return b.freeRest(ctx)
}

// freeRest frees the objects that were taken off the lists. It takes each off before its hook is
// called, so that a hook that does not return leaves the others.
func (b *Buckets) freeRest(ctx context.Context) error {
	d := &b.large.deferred
	free := func(addr uintptr) {
		l, _ := b.largeAt(mem.Ptr(addr))
		d.pending.Add(-1)
		b.releaseLarge(l)
	}
	for d.restRuns != 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		page := d.restRuns - 1
		d.restRuns = *b.nextDeferred(page)
		free(b.arena.Addr(page))
	}
	for d.restMappings != 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		addr := d.restMappings
		b.large.mu.Lock()
		d.restMappings = b.large.mine[addr].next
		b.large.mu.Unlock()
		free(addr)
	}
	return nil
}
