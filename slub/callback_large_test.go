package slub

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
)

// largeCallbacks are the functions of a BucketsConfig that are called for objects above all
// classes, each with what sets it to l.call.
var largeCallbacks = map[string]func(*BucketsConfig, *leaving){
	"Alloc":   func(c *BucketsConfig, l *leaving) { c.Hooks.Alloc = func(hooks.Object) { l.call() } },
	"Free":    func(c *BucketsConfig, l *leaving) { c.Hooks.Free = func(hooks.Object) bool { l.call(); return false } },
	"RCUDtor": func(c *BucketsConfig, l *leaving) { c.RCUDtor = func(unsafe.Pointer) { l.call() } },
	"Report":  func(c *BucketsConfig, l *leaving) { c.Hooks.Report = func(*hooks.Report) { l.call() } },
	"Scan":    nil, // of a shrinker; see shrinkerThatLeaves
	"Count":   nil,
}

// largePlaces are the places where they are called. Each frees held, and calls arm before the
// callbacks that are meant.
var largePlaces = map[string]func(b *Buckets, n int, held []unsafe.Pointer, arm func()){
	"Malloc": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		defer apart(func() { b.FreeBulk(held) })
		arm()
		for range 4 {
			apart(func() {
				if p, err := b.Malloc(n); err == nil {
					defer b.FreeDeferred(p)
				}
			})
		}
	},
	"MallocBulk": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		defer apart(func() { b.FreeBulk(held) })
		arm()
		apart(func() {
			dst := make([]unsafe.Pointer, 4)
			if b.MallocBulk(n, dst) == nil {
				b.FreeBulk(dst)
			}
		})
	},
	"Malloc that drains": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			b.FreeDeferred(p)
		}
		arm()
		for range 4 {
			apart(func() {
				if p, err := b.Malloc(n); err == nil {
					defer b.Free(p)
				}
			})
		}
	},
	"Free": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		arm()
		for _, p := range held {
			apart(func() { b.Free(p) })
		}
	},
	"Free twice": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		arm()
		for _, p := range held {
			apart(func() { b.Free(p) })
			apart(func() { b.Free(p) })
		}
	},
	"FreeBulk with bad pointers": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		arm()
		apart(func() { b.FreeBulk(withBad(withBad(held))) })
	},
	"FreeRCU, Barrier": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			b.FreeRCU(p)
		}
		arm()
		apart(func() { _ = b.Barrier(context.Background()) })
	},
	"FreeRCU, timer": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			b.FreeRCU(p)
		}
		b.freeQueue.StartAll()
		for c := range b.all() {
			c.sheaves.StartAll()
			c.freeQueue.StartAll()
		}
		arm()
		_ = b.config.Domain.Synchronize(context.Background())
		apart(b.freeQueue.ReclaimReady)
		for c := range b.all() {
			apart(c.sheaves.ReclaimReady)
			apart(c.freeQueue.ReclaimReady)
		}
	},
	"FreeRCU twice": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		arm()
		for _, p := range held {
			apart(func() { b.FreeRCU(p) })
			apart(func() { b.FreeRCU(p) })
		}
	},
	"FreeDeferred, Barrier": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			b.FreeDeferred(p)
		}
		arm()
		apart(func() { _ = b.Barrier(context.Background()) })
	},
	"FreeDeferred, Close": func(b *Buckets, n int, held []unsafe.Pointer, arm func()) {
		for _, p := range held {
			b.FreeDeferred(p)
		}
		arm()
		apart(func() { _ = b.Close() })
	},
}

// largeCalledFrom has the places that call a callback.
var largeCalledFrom = map[string][]string{
	"Alloc": {"Malloc", "MallocBulk", "Malloc that drains"},
	"Free": {"Free", "MallocBulk", "Malloc that drains", "FreeBulk with bad pointers", "FreeRCU, Barrier", "FreeRCU, timer",
		"FreeDeferred, Barrier", "FreeDeferred, Close"},
	"RCUDtor": {"FreeRCU, Barrier", "FreeRCU, timer"},
	"Report":  {"Free twice", "FreeRCU twice", "FreeBulk with bad pointers"},
	"Scan":    {"Malloc", "MallocBulk"},
	"Count":   {"Malloc", "MallocBulk"},
}

// As TestCallbackThatDoesNotReturn, for objects of page classes, page runs and mappings.
func TestLargeCallbackThatDoesNotReturn(t *testing.T) {
	sizes := []int{100_000, 1_200_000, maxRun + 1}
	if testing.Short() || sanitized {
		sizes = sizes[:2]
	}
	for callback, wheres := range largeCalledFrom {
		for _, where := range wheres {
			left := false
			for how, leave := range leaves {
				for _, after := range []int64{1, 2} {
					for _, n := range sizes {
						t.Run(fmt.Sprintf("%s, %s, %s of call %d, %d bytes", callback, where, how, after, n), func(t *testing.T) {
							l := &leaving{leave: leave, apart: true}
							cfg := BucketsConfig{Name: "leaves", Domain: new(rcu.Domain)}
							if set := largeCallbacks[callback]; set != nil {
								set(&cfg, l)
							}
							largeLeavesNothing(t, cfg, callback, n, largePlaces[where], l, after)
							if l.calls.Load() == 0 {
								t.Error("the callback has not been called")
							}
							left = left || l.left.Load() > 0
						})
					}
				}
			}
			if !left {
				t.Errorf("%s has never left from %s", callback, where)
			}
		}
	}
}

func largeLeavesNothing(t *testing.T, cfg BucketsConfig, callback string, n int,
	run func(*Buckets, int, []unsafe.Pointer, func()), l *leaving, after int64) {
	a := newArena(t, arena.Config{Span: 64 * mib})
	b := openBuckets(t, a, cfg)
	var objs []unsafe.Pointer
	for range 8 {
		objs = append(objs, malloc(t, b, n))
	}
	use, held := objs[:2], objs[2:]
	short := shrinkerThatLeaves(t, a, callback, l, func() {
		for c := range b.all() {
			c.shrinkSlabs()
		}
	})
	// Until the callback is armed no timer can reclaim what it is to be called for.
	section := cfg.Domain.Enter()
	b.large.deferred.draining.Lock()
	run(b, n, held, func() {
		short()
		l.after.Store(after)
		b.large.deferred.draining.Unlock()
		section.Exit()
	})
	l.after.Store(0)
	a.SetLimit(Unlimited)
	for range 3 {
		same(t, "Barrier", b.Barrier(context.Background()), nil)
	}
	if s := b.Stats(); s.Objects != 2 || s.Large.Waiting != 0 {
		t.Errorf("2 objects are in use, Stats says %d; %d wait", s.Objects, s.Large.Waiting)
	}
	b.FreeBulk(use)
	same(t, "Close", b.Close(), nil)
}

// shrinkerThatLeaves adds a shrinker whose Scan or Count is l.call, if that is the callback, and
// returns what makes memory short, so that allocations call it. shrink empties the sheaves.
func shrinkerThatLeaves(t *testing.T, a *arena.Arena, callback string, l *leaving, shrink func()) (short func()) {
	count, call := int64(0), func(name string) {
		if name == callback {
			l.call()
		}
	}
	if callback != "Scan" && callback != "Count" {
		return func() {}
	}
	t.Cleanup(a.AddShrinker(arena.Shrinker{
		// Another number each time, so that Scan is called.
		Count: func() int64 { count++; call("Count"); return count },
		Scan:  func(int64) int64 { call("Scan"); return 0 },
	}))
	return func() {
		shrink() // a goroutine that moves to another CPU may leave enough objects in a sheaf
		a.SetLimit(max(1, a.InUse()))
	}
}

// calledBy reports whether a function with that name is on the goroutine's stack.
func calledBy(name string) bool {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.Contains(f.Function, name) {
			return true
		}
	}
	return false
}
