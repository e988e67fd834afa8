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

// drainAll is no bound.
const drainAll = math.MaxInt

// drain frees up to most of the objects that FreeDeferred has listed, rounded up to a
// batch, unless somebody is at it.
func (c *Cache) drain(most int) {
	if d := &c.deferFree; !d.empty() && d.draining.TryLock() {
		defer d.draining.Unlock()
		c.drainLocked(most)
	}
}

// drainWait returns when everything that FreeDeferred was given before the call is free.
func (c *Cache) drainWait() {
	d := &c.deferFree
	d.draining.Lock()
	defer d.draining.Unlock()
	c.drainLocked(drainAll)
}

// drainLocked frees what another drain has left in rest, then what is listed now. It takes
// that once: others may list faster than a loop would free. The caller holds draining.
func (c *Cache) drainLocked(most int) {
	d := &c.deferFree
	if most = c.freeListed(d.rest.Swap(0), most); most > 0 {
		c.freeListed(d.head.Swap(0), most)
	}
}

// drainBatch is how many objects are freed together.
const drainBatch = 32

// freeListed frees up to most objects, the first of which is obj, 0 for none, and leaves
// the others in rest. It returns how many more it would have freed. The caller holds
// draining.
func (c *Cache) freeListed(obj uintptr, most int) (more int) {
	d := &c.deferFree
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
			return 0
		}
		n = 0
	}
	return most
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
		c.drain(drainAll)
		if c.sheaves != nil {
			c.sheaves.FlushIdle()
		}
	}
}
