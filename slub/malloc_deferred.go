package slub

import (
	"context"
	"math"
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

	draining     sync.Mutex    // held by a drain, while Free hooks are called: operations try
	busy         atomic.Bool   // a drain is running, and may have an object in hand. Under draining
	freed        atomic.Uint64 // objects that drains have freed. Stored under draining
	restRuns     uint32        // taken off runs, not free yet. Under draining
	restMappings uintptr       // taken off mappings, not free yet. Under draining
}

// FreeDeferred is a Free that never waits, for hooks, destructors, finalizers and code that runs
// under a lock; see Cache.FreeDeferred. The object is freed, and its hook called, by later
// calls of Malloc, by Shrink, Barrier or Close, and by a timer within two seconds.
//
// Up to 1 MiB it costs what Cache.FreeDeferred costs, and keeps its promises. So it does up to 4
// MiB. Above that it looks the mapping up, under a lock that is held for no longer than that. nil
// and the address of no bytes are ignored. Any goroutine. (Kernel: kfree_nolock.)
func (b *Buckets) FreeDeferred(p unsafe.Pointer) {
	if c := b.cacheOf(p); c != nil {
		c.FreeDeferred(p)
		return
	}
	l, ok := b.claimOrReport(p, false)
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

// portionFor is how many bytes one Malloc of n bytes frees. If it freed all that is listed, it
// could clear a gigabyte, and others would wait for that.
func portionFor(n uintptr) uintptr { return max(n, 4*n) } // the product may overflow

// drainLarge frees listed objects until it has freed most bytes, unless another drain is running.
func (b *Buckets) drainLarge(most uintptr) {
	if d := &b.large.deferred; d.pending.Load() > 0 && d.draining.TryLock() {
		defer d.draining.Unlock()
		_ = b.drainLargeLocked(context.Background(), most)
	}
}

// drainLargePortion frees a portion for an allocation of n bytes that has failed, and reports
// whether it has freed anything, or has waited for another drain. It does not ask pending, which
// other goroutines raise meanwhile.
func (b *Buckets) drainLargePortion(n uintptr) (progress bool) {
	d := &b.large.deferred
	waited := !d.draining.TryLock()
	if waited && !d.lockWhileFreeing(lock.Soon) {
		return false
	}
	defer d.draining.Unlock()
	before := d.freed.Load()
	_ = b.drainLargeLocked(context.Background(), portionFor(n))
	return waited || d.freed.Load() != before
}

// lockWhileFreeing locks draining, or returns false if the drain that holds it frees nothing
// during one try of soon, which is lock.Soon: the drain's hook may be the caller's own caller. A
// drain on a busy machine takes longer than that, but frees an object from time to time.
func (d *deferLarge) lockWhileFreeing(soon func(*sync.Mutex) bool) bool {
	for {
		before := d.freed.Load()
		if soon(&d.draining) {
			return true
		}
		if d.freed.Load() == before {
			return false
		}
	}
}

// drainLargeSoon is drainLarge for a round of reclaim. If another drain is running it waits for
// that, as long as it frees: what the other one has in hand is neither listed nor free.
func (b *Buckets) drainLargeSoon() {
	if d := &b.large.deferred; d.lockWhileFreeing(lock.Soon) {
		defer d.draining.Unlock()
		_ = b.drainLargeLocked(context.Background(), math.MaxUint)
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
	return b.drainLargeLocked(ctx, math.MaxUint)
}

// drainLargeLocked frees what an earlier drain has left, and then what is listed now, until it has
// freed most bytes. It takes the lists only once: other goroutines may push faster than a loop
// would free. When ctx ends it stops between two objects. The caller holds draining.
func (b *Buckets) drainLargeLocked(ctx context.Context, most uintptr) error {
	d := &b.large.deferred
	d.busy.Store(true)
	defer d.busy.Store(false)
	freed, err := b.freeRest(ctx, most)
	if freed >= most || err != nil {
		return err
	}
	d.restRuns = d.runs.Swap(0)
	b.large.mu.Lock()
	d.restMappings, d.mappings = d.mappings, 0
	b.large.mu.Unlock()
	_, err = b.freeRest(ctx, most-freed)
	return err
}

// freeRest frees the objects that were taken off the lists, until it has freed most bytes. It takes
// each off before its hook is called, so that a hook that does not return leaves the others.
func (b *Buckets) freeRest(ctx context.Context, most uintptr) (freed uintptr, _ error) {
	d := &b.large.deferred
	free := func(addr uintptr) {
		l, _ := b.largeAt(mem.Ptr(addr))
		d.pending.Add(-1)
		freed += l.bytes
		b.releaseLarge(l)
		d.freed.Add(1)
	}
	for d.restRuns != 0 && freed < most {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		page := d.restRuns - 1
		d.restRuns = *b.nextDeferred(page)
		free(b.arena.Addr(page) + b.large.lead)
	}
	for d.restMappings != 0 && freed < most {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		addr := d.restMappings
		b.large.mu.Lock()
		d.restMappings = b.large.mine[addr].next
		b.large.mu.Unlock()
		free(addr)
	}
	return freed, nil
}
