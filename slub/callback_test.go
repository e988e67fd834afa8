package slub

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// leaving makes one call of a cache's callbacks leave without returning: the after-th from when it
// was armed.
type leaving struct {
	leave func()
	// apart has calls return on goroutines that the function apart has not started: a timer's.
	apart bool
	after atomic.Int64 // calls until then; 0: not armed
	calls atomic.Int64 // while armed
	left  atomic.Int64
}

func (l *leaving) call() {
	if l.after.Load() == 0 {
		return
	}
	l.calls.Add(1)
	if l.apart && !calledBy("slub.apart.") {
		return
	}
	if l.after.Add(-1) == 0 {
		l.left.Add(1)
		l.leave()
	}
}

// callbacks are the functions of a Config, each with what sets it to l.call.
var callbacks = map[string]func(*Config, *leaving){
	"Ctor":    func(c *Config, l *leaving) { c.Ctor = func(unsafe.Pointer) { l.call() } },
	"NewSlab": func(c *Config, l *leaving) { c.Hooks.NewSlab = func(hooks.Slab) { l.call() } },
	"Alloc":   func(c *Config, l *leaving) { c.Hooks.Alloc = func(hooks.Object) { l.call() } },
	"Free":    func(c *Config, l *leaving) { c.Hooks.Free = func(hooks.Object) bool { l.call(); return false } },
	"RCUDtor": func(c *Config, l *leaving) { c.RCUDtor = func(unsafe.Pointer) { l.call() } },
	"Report":  func(c *Config, l *leaving) { c.Hooks.Report = func(*hooks.Report) { l.call() } },
}

// leaves are the ways in which a callback doesn't return.
var leaves = map[string]func(){"panic": func() { panic("callback") }, "Goexit": runtime.Goexit}

// A place is one where callbacks are called.
type place struct {
	flags Flags
	held  bool // the stacks of rcu_free are held until arm is called: FreeRCU goes to the queue
	// run frees held, and calls arm before the callbacks that are meant.
	run func(c *Cache, held []unsafe.Pointer, arm func())
}

var places = map[string]place{
	"Alloc": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		arm()
		allocs(c, 2*c.perSlab+c.sheaves.Capacity())
	}},
	"Alloc without sheaves": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		arm()
		allocs(c, 3*c.perSlab)
	}},
	"AllocBulk": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		c.FreeBulk(held) // so that sheaves have some
		arm()
		allocBulk(c, 200)
	}},
	"AllocBulk without sheaves": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		arm()
		allocBulk(c, 100)
	}},
	"AllocBulk that reclaims": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		for _, p := range held[:len(held)/2] {
			c.FreeRCU(p)
		}
		c.FreeBulk(held[len(held)/2:])
		c.sheaves.StartAll()
		graceOver(c)
		arm()
		allocBulk(c, 200)
	}},
	"Free": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		for _, p := range held {
			apart(func() { c.Free(p) })
		}
	}},
	"FreeBulk": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { c.FreeBulk(held) })
	}},
	"FreeBulk without sheaves": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { c.FreeBulk(held) })
	}},
	"FreeRCU, sheaves, Barrier": {run: freeRCUBarrier},
	"FreeRCU, sheaves, timer": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			c.FreeRCU(p)
		}
		c.sheaves.StartAll()
		graceOver(c)
		arm()
		apart(c.sheaves.ReclaimReady)
	}},
	"FreeRCU, sheaves, Alloc": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			c.FreeRCU(p)
		}
		c.sheaves.StartAll()
		graceOver(c)
		arm()
		allocs(c, 2*c.perSlab)
	}},
	"FreeRCU, queue, Barrier":   {held: true, run: freeRCUBarrier},
	"FreeRCU, no sheaves":       {flags: NoSheaves, run: freeRCUBarrier},
	"FreeRCU, queue, FreeBatch": {held: true, run: freeRCUPoll},
	"FreeDeferred, drain": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			c.FreeDeferred(p)
		}
		arm()
		apart(func() { c.drain(drainMost) })
		apart(func() { c.drain(drainAll) })
	}},
	"FreeDeferred, Close": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			c.FreeDeferred(p)
		}
		arm()
		apart(func() { _ = c.Close() })
	}},
	"Prefill and Return": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		arm()
		lend(c, c.sheaves.Capacity()/2)
	}},
	"Prefill oversize": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		arm()
		lend(c, 3*c.sheaves.Capacity())
	}},
	"Refill": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		defer apart(func() { c.FreeBulk(held) })
		apart(func() {
			p, err := c.Prefill(2)
			if err != nil {
				return
			}
			defer p.Return()
			defer c.Free(p.Alloc())
			arm()
			_ = p.Refill(3 * c.sheaves.Capacity())
		})
	}},
	"FreeBulk with a bad pointer": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { c.FreeBulk(withBad(held)) })
	}},
	"FreeBulk with a bad pointer, no sheaves": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { c.FreeBulk(withBad(held)) })
	}},
	"FreeBulk, twice in succession": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { c.FreeBulk(append([]unsafe.Pointer{held[0]}, held...)) })
	}},
	"Free, twice in succession": {flags: NoSheaves, run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		arm()
		for _, p := range held {
			apart(func() { c.Free(p) })
		}
		apart(func() { c.Free(held[len(held)-1]) })
	}},
	"Shrink, twice in succession": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		freeTwice(c, held)
		arm()
		apart(func() { c.Shrink() })
	}},
	"SetSheafCapacity, twice in succession": {run: func(c *Cache, held []unsafe.Pointer, arm func()) {
		freeTwice(c, held)
		arm()
		apart(func() { _ = c.SetSheafCapacity(30) })
	}},
}

// The places by what happens there. shortPlaces allocate so much that shrinkers are called where
// memory is short.
var (
	shortPlaces = []string{"Alloc", "Alloc without sheaves", "AllocBulk", "AllocBulk without sheaves", "AllocBulk that reclaims",
		"Prefill oversize", "Refill"}
	newSlabPlaces = append(shortPlaces, "Prefill and Return")
	allocPlaces   = append(newSlabPlaces, "FreeRCU, sheaves, Alloc")
	reclaimPlaces = []string{"FreeRCU, sheaves, Barrier", "FreeRCU, sheaves, timer", "FreeRCU, sheaves, Alloc",
		"FreeRCU, queue, Barrier", "FreeRCU, queue, FreeBatch", "AllocBulk that reclaims"}
	freePlaces = append(reclaimPlaces, "FreeRCU, no sheaves", "Free", "FreeBulk", "FreeBulk without sheaves", "FreeDeferred, drain",
		"FreeDeferred, Close", "Prefill and Return", "Prefill oversize", "Refill", "FreeBulk with a bad pointer",
		"FreeBulk with a bad pointer, no sheaves", "Alloc", "AllocBulk")
)

// calledFrom has the places that call a callback. Scan and Count are a shrinker's.
var calledFrom = map[string][]string{
	"Ctor":    newSlabPlaces,
	"NewSlab": newSlabPlaces,
	"Alloc":   allocPlaces,
	"Free":    freePlaces,
	"RCUDtor": reclaimPlaces,
	"Report": {"FreeBulk with a bad pointer", "FreeBulk with a bad pointer, no sheaves", "FreeBulk, twice in succession",
		"Free, twice in succession", "Shrink, twice in succession", "SetSheafCapacity, twice in succession"},
	"Scan":  shortPlaces,
	"Count": shortPlaces,
}

// freeTwice frees objs, the last of them twice. Sheaves don't see that: the slab does when it is
// flushed.
func freeTwice(c *Cache, objs []unsafe.Pointer) {
	last := len(objs) - 1
	c.FreeBulk(objs[:last])
	c.Shrink()
	c.Free(objs[last])
	freeUnseen(c, objs[last])
}

// freeUnseen puts an object into a sheaf without the checks of Free, as a free does that comes at
// the same instant as another.
func freeUnseen(c *Cache, p unsafe.Pointer) {
	c.sheaves.TryFree(p, c.Arena().NodeIndex(uintptr(p)))
}

// withBad returns objs with a pointer in the middle that is no object's.
func withBad(objs []unsafe.Pointer) []unsafe.Pointer {
	half := len(objs) / 2
	bad := append(objs[:half:half], unsafe.Add(objs[half], 8))
	return append(bad, objs[half:]...)
}

func freeRCUBarrier(c *Cache, held []unsafe.Pointer, arm func()) {
	for _, p := range held {
		c.FreeRCU(p)
	}
	arm()
	apart(func() { _ = c.Barrier(context.Background()) })
}

func freeRCUPoll(c *Cache, held []unsafe.Pointer, arm func()) {
	for _, p := range held {
		c.FreeRCU(p)
	}
	c.freeQueue.StartAll()
	graceOver(c)
	arm()
	for range 10 {
		apart(func() { c.freeQueue.Poll() })
	}
}

// graceOver returns when the grace periods of what is started are over.
func graceOver(c *Cache) { _ = c.domain.Synchronize(context.Background()) }

// allocs allocates n objects one by one, each on a goroutine of its own, and then frees them.
func allocs(c *Cache, n int) {
	var ps []unsafe.Pointer
	for range n {
		apart(func() {
			if p, err := c.Alloc(); err == nil {
				ps = append(ps, p)
			}
		})
	}
	for _, p := range ps {
		c.FreeDeferred(p)
	}
}

// leftInDst counts the objects that allocBulk has found in the dst of an AllocBulk which failed or
// did not return. It must have none.
var leftInDst atomic.Int64

func allocBulk(c *Cache, n int) {
	apart(func() {
		dst := make([]unsafe.Pointer, n)
		allocated := false
		defer func() {
			for _, p := range dst {
				if p != nil && !allocated {
					leftInDst.Add(1) // a panic would end in apart
				}
			}
		}()
		if c.AllocBulk(dst) == nil {
			allocated = true
			c.FreeBulk(dst)
		}
	})
}

func lend(c *Cache, n int) {
	apart(func() {
		p, err := c.Prefill(n)
		if err != nil {
			return
		}
		defer p.Return()
		for range n / 2 {
			c.Free(p.Alloc())
		}
	})
}

// Every callback in every place, at its first call, its second and a later one, panics or ends its
// goroutine. No object is lost: with those that the test frees, all are free afterwards, none is in
// use by the counts, and Close finds no leak. Without a Report hook a report panics in the same
// way.
func TestCallbackThatDoesNotReturn(t *testing.T) {
	calls := []int64{1, 2, 40}
	if testing.Short() {
		calls = calls[:2]
	}
	for callback, wheres := range calledFrom {
		for _, where := range wheres {
			left := false
			for how, leave := range leaves {
				for _, after := range calls {
					pl := places[where]
					cfg := Config{Name: "leaves", Size: 512, Flags: pl.flags, RCUDelay: time.Hour, Domain: new(rcu.Domain),
						SheafCapacity: 20, BarnFull: 1}
					l := &leaving{leave: leave, apart: true}
					if set := callbacks[callback]; set != nil {
						set(&cfg, l)
					}
					t.Run(fmt.Sprintf("%s, %s, %s of call %d", callback, where, how, after), func(t *testing.T) {
						leavesNothing(t, cfg, callback, pl, l, after)
						left = left || l.left.Load() > 0
					})
				}
			}
			if !left {
				t.Errorf("%s has never left from %s", callback, where)
			}
		}
	}
}

// leavesNothing runs a place with one callback that doesn't return, and looks for what is lost.
func leavesNothing(t *testing.T, cfg Config, callback string, pl place, l *leaving, after int64) {
	a := newArena(t, arena.Config{})
	c := open(t, a, cfg)
	objs := take(t, c, 150)
	use, held := objs[:50], objs[50:]
	release := func() {}
	if pl.held {
		release = holdStacks(c, percpu.RCU)
	}
	short := shrinkerThatLeaves(t, a, callback, l, func() {})
	pl.run(c, held, func() {
		release()
		short()
		l.after.Store(after)
	})
	l.after.Store(0)
	a.SetLimit(Unlimited)
	if n := leftInDst.Swap(0); n != 0 {
		t.Errorf("AllocBulk has failed or not returned, and its dst has %d objects", n)
	}
	for range 3 {
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.InUse != 50 || s.RCUObjects != 0 || s.DeferredObjects != 0 || s.Prefilled != 0 {
		t.Errorf("50 objects are in use, Stats says %d; %d wait, %d are deferred, %d sheaves lent",
			s.InUse, s.RCUObjects, s.DeferredObjects, s.Prefilled)
	}
	c.FreeBulk(use)
	if s := c.Stats(); s.InUse != 0 {
		t.Errorf("no object is in use, Stats says %d", s.InUse)
	}
	same(t, "Close", c.Close(), nil)
}
