package slub

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/sampling"
	"github.com/slubd/slubd/slub/internal/slab"
)

// A debug cache writes bytes that are known beside its objects, and into those that are free, and
// looks whether they stay (package debug). It is an instrumented cache whose objects have marks. It
// has no sheaves: an object is in its slab or out, and a write to one that is free is found by the
// next allocation (kernel: calculate_sheaf_capacity is 0 with any debug flag).
//
//	new slab   --initDebug, before the constructor-->  free bytes, then Poisoned
//	Poisoned   --beginDebug, in prepare-->             checked; bytes in use, InUse
//	InUse      --claim-->                              Free, GivenRCU or GivenDeferred; no byte
//	claimed    --endDebug, in scrub, after hooks-->    checked; free bytes, Poisoned
//
// A change of the bytes and that of the mark which goes with it are one step under debugging.mu. So
// whatever holds it may read an object's mark and knows what its bytes should be, except for an
// object with the mark Free: that is on its way to scrub, or in a slab that is being made.
//
// A claim takes no lock, since FreeDeferred waits for none. Its mark changes by an atomic step, of
// which of several frees one succeeds; and between it and endDebug the bytes are those of an object
// in use.

// A debugging is what a debug cache has in addition to others. All but the reports is constant.
type debugging struct {
	layout debug.Layout
	action DebugAction
	// implied says that only the environment leaves the cache without sheaves.
	implied bool
	// quarantine has free objects that wait; nil without Q.
	quarantine *quarantine

	// mu is held while an object begins or ends to be in use, and while one is looked at. It is
	// taken inside a node's lock, by slab.Slabs.Visit; no call into the slabs that may wait for
	// such a lock, and no function of the user's, is called under it.
	mu      lock.Mutex
	reports []*hooks.Report // found by frees, not made yet; under mu
	pending atomic.Bool     // there are reports; stored under mu

	cut atomic.Bool // a chain was cut: free objects may be lost behind it
}

// newDebugging returns that of a cache, nil if it is no debug cache.
func newDebugging(cfg Config) *debugging {
	f := cfg.debugFlags()
	if f == 0 {
		return nil
	}
	return &debugging{layout: cfg.debugLayout(f), action: cfg.debugAction(), quarantine: newQuarantine(f)}
}

// debug returns the cache's debugging, nil if it is no debug cache.
func (c *Cache) debug() *debugging {
	if c.marks == nil {
		return nil
	}
	return c.marks.debug
}

// whyNoSheaves says why a cache has no sheaves, for errors.
func (c *Cache) whyNoSheaves() string {
	if c.debug() != nil {
		return "no sheaves, as a debug cache; see Config.Debug"
	}
	return "NoSheaves"
}

// has reports whether a cache is a debug cache with the given flags. d may be nil.
func (d *debugging) has(f debug.Flags) bool { return d != nil && d.layout.Flags.Has(f) }

// calls has the call stacks of tracks, each once.
var calls sampling.Table

// debugStackDepth is how many frames of a call stack are kept: as many as a report has.
const debugStackDepth = 32

// track returns the track of the function that calls its caller. With stack unset it waits for
// nothing, and has no stack.
func (d *debugging) track(stack bool) debug.Track {
	if !d.has(debug.Users) {
		return debug.Track{}
	}
	t := debug.Track{CPU: int32(percpu.CPU()), When: time.Now().UnixNano()}
	if stack {
		var pcs [debugStackDepth]uintptr
		t.Stack = calls.Number(pcs[:runtime.Callers(3, pcs[:])])
	}
	return t
}

// initDebug writes the bytes of free objects to a new slab, before its constructor. markPoisoned
// marks them behind it: nothing looks at an object of the slab in between.
func (c *Cache) initDebug(s slab.Ref) {
	d := c.marks.debug
	for i := range uint32(s.Objects()) {
		d.layout.Init(c.slabs.Object(s, i))
	}
	d.layout.FillTail(c.slabs.Addr(s), s.Bytes(), uintptr(s.Objects()))
}

func (c *Cache) markPoisoned(s slab.Ref) {
	for i := range uint32(s.Objects()) {
		c.slabs.SetPoisoned(mem.Ptr(c.slabs.Object(s, i)))
	}
}

// freeDebug is Free in a debug cache.
func (c *Cache) freeDebug(p unsafe.Pointer) {
	c.freeInGo(p)
	c.reportFound()
}

// beginDebug is prepare in a debug cache.
func (c *Cache) beginDebug(p unsafe.Pointer, zero uintptr) (ok bool) {
	d := c.marks.debug
	t := d.track(true)
	d.mu.Lock()
	found, ok := c.beginLocked(p, t)
	d.mu.Unlock()
	return c.begun(p, zero, found, ok)
}

// beginLocked is the part of beginDebug under the lock. It returns what it has found, for begun. ok
// is false if the object is in use already.
func (c *Cache) beginLocked(p unsafe.Pointer, t debug.Track) (found []*hooks.Report, ok bool) {
	d, obj := c.marks.debug, uintptr(p)
	if sanitized {
		acquireObject(p, c.layout)
	}
	if d.has(debug.Consistency) && c.slabs.MarkOf(p, 0) == slab.Poisoned {
		found = c.inspect(obj, false)
	}
	if !c.slabs.SetInUse(p) {
		return found, false
	}
	d.layout.Begin(obj)
	d.layout.SetAllocated(obj, t)
	return found, true
}

// begun makes the reports about an object that was to be handed out, and prepares its memory. If a
// report doesn't return, the object goes back to its slab, and the next operation makes the others.
func (c *Cache) begun(p unsafe.Pointer, zero uintptr, found []*hooks.Report, ok bool) bool {
	d := c.marks.debug
	if ok {
		if c.config.Flags&InitOnFree != 0 && d.layout.Poisons() {
			zero = c.layout.size // what the free would have left
		}
		c.prepareMemory(p, zero)
		d.trace(c.name, "alloc", p)
	}
	for i, r := range found {
		callback.Guard(func() { c.fire(r) }, func() {
			d.keep(found[i+1:])
			if ok {
				c.takeBack([]unsafe.Pointer{p})
			}
		})
	}
	if !ok {
		c.reportInUse(p)
	}
	return ok
}

// noteFree keeps the call that has claimed an object, in the way that to says. FreeDeferred must
// not wait, so its stack is not kept.
func (d *debugging) noteFree(p unsafe.Pointer, to slab.Mark) {
	if d.has(debug.Users) {
		d.layout.SetFreed(uintptr(p), d.track(to != slab.GivenDeferred))
	}
}

// endDebug is scrub in a debug cache. What it finds is reported by reportFound: its callers still
// hold other objects, or this one. InitOnFree clears the object once it is inspected,
// with the part that is a red zone; poison would overwrite the zeroes.
func (c *Cache) endDebug(p unsafe.Pointer) {
	d, obj := c.marks.debug, uintptr(p)
	var t debug.Track
	if _, freed := d.layout.Tracks(obj); freed.When == 0 { // its user has not freed it
		t = d.track(true)
	}
	d.mu.Lock()
	if d.has(debug.Consistency) {
		c.inspectUsed(p)
	}
	c.slabs.SetFree(p)
	if c.config.Flags&InitOnFree != 0 && !d.layout.Poisons() {
		c.wipe(p)
	}
	c.release(p) // under the lock: what Validate reads is ordered behind it
	if t.When != 0 {
		d.layout.SetFreed(obj, t)
	}
	d.layout.Free(obj)
	c.slabs.SetPoisoned(p)
	d.mu.Unlock()
	d.trace(c.name, "free", p)
}

// inspectUsed looks at an object that is or was in use, and keeps what it finds for reportFound. A
// Free that goes on is not a call that has freed the object before. The caller holds the lock.
func (c *Cache) inspectUsed(p unsafe.Pointer) {
	d, obj := c.marks.debug, uintptr(p)
	look := func() { d.keepLocked(c.inspect(obj, true)) }
	if c.slabs.MarkOf(p, 0) == slab.Free {
		d.layout.Unfreed(obj, look)
	} else {
		look()
	}
}

// limitDebug makes n of an object's bytes those that its user asked for. What it finds is reported
// by reportFound: most callers have just allocated the object, and its user does not hold it yet.
func (c *Cache) limitDebug(p unsafe.Pointer, n uintptr) {
	if d := c.debug(); d.has(debug.RedZone) {
		d.mu.Lock()
		c.limitLocked(p, n)
		d.mu.Unlock()
	}
}

// limitDebugNoWait is limitDebug for a caller that must not wait. While the lock is held by another
// goroutine the whole object is its user's.
func (c *Cache) limitDebugNoWait(p unsafe.Pointer, n uintptr) {
	if d := c.debug(); d.has(debug.RedZone) && d.mu.TryLock() {
		c.limitLocked(p, n)
		d.mu.Unlock()
	}
}

// limitLocked is limitDebug under the lock. An object that is poison meanwhile stays as it is: its
// user has freed it on another goroutine.
func (c *Cache) limitLocked(p unsafe.Pointer, n uintptr) {
	d, obj := c.marks.debug, uintptr(p)
	if c.slabs.MarkOf(p, 0) == slab.Poisoned {
		return
	}
	if d.has(debug.Consistency) && d.layout.Requested(obj) < d.layout.Size {
		c.inspectUsed(p) // or what was overwritten would become the user's
	}
	d.layout.SetRequest(obj, n, c.config.Flags&InitOnAlloc != 0)
}

// allocNoWaitDebug is AllocNoWait in a debug cache. It takes the object under the lock, which it
// only tries: Slabs.TakeNoWait tries locks as well, and reports nothing.
func (c *Cache) allocNoWaitDebug() (unsafe.Pointer, error) {
	d := c.marks.debug
	for {
		if !d.mu.TryLock() {
			return nil, ErrWouldBlock
		}
		p, err := c.noWait.Func()()
		var found []*hooks.Report
		ok := false
		if err == nil {
			found, ok = c.beginLocked(p, d.track(false))
		}
		d.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if c.begun(p, 0, found, ok) {
			c.hookAlloc(p)
			return p, nil
		}
	}
}
