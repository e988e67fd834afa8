package slub

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/lazytimer"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/slab"
)

// deferFree is the list of the objects given to FreeDeferred (kernel: struct defer_free). It
// links them by their free pointers, the latest first.
//
// Any goroutine pushes, by compare-and-swap. A drain takes the whole list at once, so a push
// can't mistake a head that was taken and pushed again for one that stayed (the ABA problem).
type deferFree struct {
	head     atomic.Uintptr // address of the first object; 0: none
	rest     atomic.Uintptr // first of those taken off head, not free yet; stored under draining
	given    atomic.Int64   // objects ever given to FreeDeferred
	putBack  atomic.Int64   // objects ever listed because a hook before them didn't return
	done     atomic.Int64   // of both, those that are free; stored under draining
	draining sync.Mutex     // held by a drain: operations try, Barrier and Close wait
}

func (d *deferFree) empty() bool { return d.head.Load() == 0 && d.rest.Load() == 0 }

// pending returns how many objects are listed and not free yet: at least the length of the list.
func (d *deferFree) pending() int64 {
	done := d.done.Load() // first, since it grows
	return d.given.Load() + d.putBack.Load() - done
}

// FreeDeferred is a Free that never waits, for hooks, destructors, finalizers and code that runs
// under a lock. It links the object into a list, by two stores: it takes no lock, makes no system
// call, allocates no Go memory and calls no hook. The object is freed, and its hook called, when
// the list is drained: bit by bit by every AllocBulk and every Alloc that finds its CPU's main
// sheaf empty, completely by Shrink, Barrier and Close, and by a timer within two seconds.
//
// The caller must not use the object afterwards. nil is ignored. The pointer is checked, and
// reported as by Free, in this call and not later. Any goroutine. (Kernel: kfree_nolock,
// defer_free.)
func (c *Cache) FreeDeferred(p unsafe.Pointer) {
	if c.claimOrReport(p, slab.GivenDeferred) == 0 {
		return
	}
	if c.isAlone(p) && !c.noteGuardedFree(p) {
		return
	}
	c.deferFree.given.Add(1) // before the push: freeListed relies on it
	c.listDeferred(p)
}

// listDeferred puts an object in the list, for which the caller has counted it.
func (c *Cache) listDeferred(p unsafe.Pointer) {
	d := &c.deferFree
	for {
		head := d.head.Load()
		c.slabs.SetNext(uintptr(p), head)
		if d.head.CompareAndSwap(head, uintptr(p)) {
			return
		}
	}
}

// drainMost is the largest number of objects that one Alloc frees: about as many as its refill
// would have fetched.
const drainMost = 64

// drainAll drains the whole list.
const drainAll = math.MaxInt

// drain frees up to most of the listed objects, rounded up to a batch, unless another drain is
// running.
func (c *Cache) drain(most int) {
	if d := &c.deferFree; !d.empty() && d.draining.TryLock() {
		defer d.draining.Unlock()
		c.drainLocked(context.Background(), most)
	}
}

// drainSoon is drain of all for a round of reclaim. If another drain is running it waits for that,
// at most lock.MaxWait: what the other one has in hand is neither listed nor free.
func (c *Cache) drainSoon() {
	if d := &c.deferFree; lock.Soon(&d.draining) {
		defer d.draining.Unlock()
		c.drainLocked(context.Background(), drainAll)
	}
}

// drainWait returns when every object given to FreeDeferred before the call is free, or when ctx
// ends, with its error.
func (c *Cache) drainWait(ctx context.Context) error {
	d := &c.deferFree
	if err := lock.Context(ctx, &d.draining); err != nil {
		return err
	}
	defer d.draining.Unlock()
	c.drainLocked(ctx, drainAll)
	if d.rest.Load() != 0 {
		return ctx.Err()
	}
	return nil
}

// drainLocked frees what an earlier drain has left in rest, and then what is listed now. It takes
// the list only once: other goroutines may push faster than a loop would free. The caller holds
// draining.
func (c *Cache) drainLocked(ctx context.Context, most int) {
	d := &c.deferFree
	if most = c.freeListed(ctx, d.rest.Load(), most); most > 0 {
		c.freeListed(ctx, d.head.Swap(0), most)
	}
}

// drainBatch is the number of objects that are freed together.
const drainBatch = 32

// freeListed frees up to most objects of the list that begins with obj, which may be 0, or fewer if
// ctx ends. It returns how many more it would have freed. Before each batch it stores in rest what
// comes behind it, so that nothing is lost if a hook doesn't return. The caller holds draining.
func (c *Cache) freeListed(ctx context.Context, obj uintptr, most int) (more int) {
	d := &c.deferFree
	// done is only changed under draining, so left is at least the length of the list. If the list
	// is longer, an object was given twice and has made a ring of it.
	left := d.pending()
	var batch [drainBatch]unsafe.Pointer
	for n := 0; obj != 0; {
		if left--; left < 0 {
			d.rest.Store(0) // leave the batch: it may contain the ring
			c.reportDeferred(obj, "was given to FreeDeferred twice")
			break
		}
		next, ok := c.slabs.Next(obj) // before obj is free
		broken := uintptr(0)
		if !ok {
			broken, next = obj, 0
		}
		batch[n] = mem.Ptr(obj)
		n++
		if obj = next; n < len(batch) && obj != 0 {
			continue
		}
		d.rest.Store(obj)
		c.freeBatch(batch[:n], broken)
		if most -= n; most <= 0 || obj != 0 && ctx.Err() != nil {
			return 0
		}
		n = 0
	}
	return most
}

// freeBatch frees listed objects. broken is the one whose link is broken, or 0.
func (c *Cache) freeBatch(objs []unsafe.Pointer, broken uintptr) {
	defer c.deferFree.done.Add(int64(len(objs))) // even if a hook doesn't return
	if broken != 0 {
		defer c.reportDeferred(broken, "what was given to FreeDeferred before it is lost")
	}
	c.freeBulk(objs, true)
	c.reportFound()
}

// reportDeferred reports an object whose link does not lead to another listed object.
func (c *Cache) reportDeferred(obj uintptr, what string) {
	c.fire(hooks.NewReport(hooks.FreelistCorrupt, c.name, obj, "%s", what))
}

// sweepPeriod bounds how long the objects of FreeDeferred wait in an idle cache. Two periods
// bound how long unused sheaves stay in barns: with the arena's Decay of five seconds after that,
// the pages of a peak are back within ten seconds.
const sweepPeriod = 2 * time.Second

// sweepTimer is the timer of all caches. It is armed as long as a cache is open: FreeDeferred
// could not arm it, since that may wake a thread.
var sweepTimer lazytimer.Timer

func init() { sweepTimer.Init(sweep) }

func armSweep() { sweepTimer.Arm(sweepPeriod) }

// sweep drains the list of every cache, and flushes idle sheaves from its barns.
func sweep() {
	for _, c := range caches.all() {
		armSweep()
		c.drain(drainAll)
		if c.sheaves != nil {
			c.sheaves.FlushIdle()
		}
		if b := c.Buckets(); b != nil && c == b.caches[0] {
			b.drainLarge(math.MaxUint)
		}
	}
}
