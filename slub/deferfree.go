package slub

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// deferFree is the list of what FreeDeferred was given (kernel: struct defer_free).
//
// It runs through the objects' free pointers, the last one given first. Anybody pushes,
// by compare-and-swap; whoever drains takes the whole, so that no push can mistake a
// head that came back for one that stayed.
type deferFree struct {
	head     atomic.Uintptr // address of the first object; 0 for none
	rest     atomic.Uintptr // of those taken off head and not free yet; written under draining
	pending  atomic.Int64   // objects given and not free yet; never fewer than are listed
	draining sync.Mutex     // one drain at a time: operations try, Barrier and Close wait
}

func (d *deferFree) empty() bool { return d.head.Load() == 0 && d.rest.Load() == 0 }

// FreeDeferred is Free for where nothing may be waited for: in hooks, destructors,
// finalizers and callbacks of whatever holds locks. It only links the object to a list,
// by two stores: no lock, no system call, no Go memory, and no hook is called. The
// object is free, hooks called, when the list is drained: little by little by every Alloc
// that finds its CPU's main sheaf empty and every AllocBulk, as a whole by Shrink,
// Barrier or Close, or else within two seconds.
//
// The caller must not touch the object any more. nil is ignored. Checks and reports as
// Free, at once, while the culprit is on the stack: a pointer that isn't the
// cache's can't be linked. (Kernel: kfree_nolock, defer_free.)
func (c *Cache) FreeDeferred(p unsafe.Pointer) {
	if c.checked(p) == 0 {
		return
	}
	d := &c.deferFree
	d.pending.Add(1) // first, for drain
	for {
		head := d.head.Load()
		c.slabs.setNext(uintptr(p), head)
		if d.head.CompareAndSwap(head, uintptr(p)) {
			return
		}
	}
}

// drainMost is how many objects an Alloc frees at most: about as many as its refill
// would have fetched.
const drainMost = 64

// drainSome frees up to drainMost of the objects that FreeDeferred has listed, unless
// somebody is at it.
func (c *Cache) drainSome() {
	if d := &c.deferFree; !d.empty() && d.draining.TryLock() {
		defer d.draining.Unlock()
		c.drainLocked(drainMost)
	}
}

// drain does so with all.
func (c *Cache) drain() {
	if d := &c.deferFree; !d.empty() && d.draining.TryLock() {
		defer d.draining.Unlock()
		c.drainAllLocked()
	}
}

// drainWait returns when everything that FreeDeferred was given before the call is free.
func (c *Cache) drainWait() {
	d := &c.deferFree
	d.draining.Lock()
	defer d.draining.Unlock()
	c.drainAllLocked()
}

// drainAllLocked takes head once: others may give faster than a loop would drain.
func (c *Cache) drainAllLocked() {
	if c.deferFree.rest.Load() != 0 {
		c.drainLocked(math.MaxInt)
	}
	c.drainLocked(math.MaxInt)
}

// drainBatch is how many objects are freed together.
const drainBatch = 32

// drainLocked frees up to most objects, rounded up to a batch, of rest, or else of
// those listed now. The caller holds draining.
func (c *Cache) drainLocked(most int) {
	d := &c.deferFree
	obj := d.rest.Swap(0)
	if obj == 0 {
		obj = d.head.Swap(0)
	}
	// Only who holds draining lowers pending, so that this is no less than the length
	// of the list. An object given twice makes a ring of it.
	left := d.pending.Load()
	var batch [drainBatch]unsafe.Pointer
	for n := 0; obj != 0; {
		if left--; left < 0 {
			c.reportDeferred(obj, "was given to FreeDeferred twice")
			break // with what is in the batch, which may be the ring
		}
		next, ok := c.slabs.nextDeferred(obj) // before obj is free
		if !ok {
			c.reportDeferred(obj, "what was given to FreeDeferred before it is lost")
			next = 0
		}
		batch[n] = mem.Ptr(obj)
		n++
		if obj = next; n < len(batch) && obj != 0 {
			continue
		}
		c.FreeBulk(batch[:n])
		d.pending.Add(-int64(n))
		if most -= n; most <= 0 {
			d.rest.Store(obj)
			return
		}
		n = 0
	}
}

// reportDeferred tells about an object whose link leads anywhere but to another one
// that is listed.
func (c *Cache) reportDeferred(obj uintptr, what string) {
	hooks.NewReport(hooks.FreelistCorrupt, c.name, obj, "%s", what).Fire(&c.config.Hooks)
}

// sweepPeriod bounds how long FreeDeferred's objects wait in a cache that is otherwise
// idle, and half of how long sheaves that nobody misses stay in barns: often enough that
// with the arena's Decay of five seconds after it the pages are back ten seconds after a
// peak.
const sweepPeriod = 2 * time.Second

var sweepArmed atomic.Bool

// armSweep sets the timer of all caches. It goes on as long as a cache is open:
// FreeDeferred could not set it, which may wake a thread.
func armSweep() {
	if sweepArmed.CompareAndSwap(false, true) {
		time.AfterFunc(sweepPeriod, sweep)
	}
}

// sweep drains every cache, and its barns of what is idle.
func sweep() {
	sweepArmed.Store(false)
	for c := range Caches() {
		armSweep()
		c.drain()
		if c.sheaves != nil {
			c.sheaves.FlushIdle()
		}
	}
}
