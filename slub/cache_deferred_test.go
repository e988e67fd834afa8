package slub

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// drains are the calls that drain the list of FreeDeferred.
var drains = map[string]func(*Cache){
	"Barrier":   func(c *Cache) { _ = c.Barrier(context.Background()) },
	"Shrink":    func(c *Cache) { c.Shrink() },
	"the timer": func(*Cache) { sweepTimer.Fire() },
	"Alloc":     func(c *Cache) { freeAll(c, []unsafe.Pointer{first(c.Alloc())}) },
	"AllocBulk": func(c *Cache) {
		ps := make([]unsafe.Pointer, 1)
		_ = c.AllocBulk(ps)
		c.Free(ps[0])
	},
	"Close": func(c *Cache) { _ = c.Close() },
}

// emptyMain empties the CPUs' sheaves, so that the next Alloc takes its slow path.
func emptyMain(c *Cache) {
	if c.sheaves != nil {
		c.sheaves.Flush()
	}
}

// Every drain frees what FreeDeferred was given, allocations at most drainMost objects at once.
// Until then the objects are neither in use nor free.
func TestFreeDeferred(t *testing.T) {
	for _, flags := range []Flags{0, NoSheaves} {
		for how, drain := range drains {
			freed := 0
			DelaySweep()
			c := open(t, nil, Config{Size: 64, Flags: flags, Hooks: hooks.Hooks{Free: func(hooks.Object) bool { freed++; return false }}})
			ps := take(t, c, 100)
			emptyMain(c)
			for _, p := range ps[:70] {
				c.FreeDeferred(p)
			}
			s := c.Stats()
			left := 0
			if strings.HasPrefix(how, "Alloc") {
				left = 70 - drainMost
			}
			if s.InUse != 30 || s.DeferredObjects != 70 || freed != 0 {
				t.Errorf("%d in use, %d deferred, %d freed before any drain", s.InUse, s.DeferredObjects, freed)
			}
			drain(c)
			s = c.Stats()
			if s.InUse != 30 || s.DeferredObjects != uint64(left) || freed < 70-left {
				t.Errorf("flags %d, %s: %d in use, %d deferred, %d freed", flags, how, s.InUse, s.DeferredObjects, freed)
			}
			if flags == NoSheaves {
				c.FreeDeferred(ps[70]) // a list beside the rest
			} else {
				c.drain(drainAll)
				c.Free(ps[70])
			}
			freeAll(c, ps[71:])
			c.drain(drainAll)
			if s := c.Stats(); s.InUse != 0 || s.DeferredObjects != 0 {
				t.Errorf("flags %d, %s: %d in use, %d deferred in the end", flags, how, s.InUse, s.DeferredObjects)
			}
		}
	}
}

// The timer is set as long as a cache is open.
func TestSweepStaysArmed(t *testing.T) {
	sweepTimer.Stop()
	open(t, nil, Config{Size: 64})
	if !sweepTimer.Stop() {
		t.Error("New did not set the timer")
	}
	if sweepTimer.Fire(); !sweepTimer.Armed() {
		t.Error("the timer did not set itself again")
	}
}

// Sheaves that were not needed between two sweeps go back to their slabs; a cache and its aliases
// are swept once.
func TestSweepFlushesIdleBarns(t *testing.T) {
	needMerging(t)
	DelaySweep()
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Size: 64})
	if open(t, a, Config{Size: 64}); c.Aliases() != 1 {
		t.Fatalf("%d aliases, want 1", c.Aliases())
	}
	freeAll(c, take(t, c, 5*c.Stats().SheafCapacity))
	sweep()
	barn := c.Stats().Nodes[0].BarnObjects
	if barn == 0 {
		t.Fatal("the barn is empty at once")
	}
	sweep()
	if s := c.Stats(); s.Nodes[0].BarnObjects != 0 || s.Events[SheafFlush] < barn {
		t.Errorf("%d of %d objects are still in the barn, %d flushed", s.Nodes[0].BarnObjects, barn, s.Events[SheafFlush])
	}
}

// Only Barrier and Close wait for a running drain: the objects that it is freeing are neither
// free nor leaks.
func TestCloseWaitsForDrain(t *testing.T) {
	busy, goOn := make(chan bool), make(chan bool)
	c := open(t, nil, Config{Size: 64, Hooks: hooks.Hooks{Free: func(hooks.Object) bool {
		busy <- true
		<-goOn
		return false
	}}})
	c.FreeDeferred(take(t, c, 1)[0])
	drained, closed := make(chan bool), make(chan error)
	go func() { c.drain(drainAll); close(drained) }()
	<-busy
	c.drain(drainAll)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		t.Errorf("Close did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
		goOn <- true
		same(t, "Close", <-closed, nil)
	}
	<-drained
}

// An overwritten free pointer is reported when the drain follows it. The objects behind it still
// count, and Close reports their addresses.
func TestFreeDeferredCorrupt(t *testing.T) {
	for name, damage := range map[string]func(c *reportRecorder, p unsafe.Pointer){
		"out of the arena": func(c *reportRecorder, p unsafe.Pointer) {
			smashLink(c.Cache, p)
		},
		"a page without slab": func(c *reportRecorder, p unsafe.Pointer) {
			c.slabs.SetNext(uintptr(p), c.Arena().Base()+uintptr(c.Arena().Span())-mem.PageSize)
		},
		"the middle of an object": func(c *reportRecorder, p unsafe.Pointer) { c.slabs.SetNext(uintptr(p), uintptr(p)+8) },
	} {
		c := openRecorder(t, nil, Config{Size: 64})
		ps := take(t, c.Cache, 6)
		for _, p := range ps {
			c.FreeDeferred(p)
		}
		const hidden = 2 // given before the object with the overwritten pointer
		damage(c, ps[hidden])
		c.drain(drainAll)
		if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.FreelistCorrupt || c.Reports[0].Addr != uintptr(ps[hidden]) {
			t.Errorf("%s: reports %v", name, c.Reports)
		}
		if s := c.Stats(); s.DeferredObjects != hidden {
			t.Errorf("%s: %d objects deferred, want the %d behind it", name, s.DeferredObjects, hidden)
		}
		same(t, "Close", c.Close(), ErrBusy)
		c.deferFree.done.Add(hidden)
		for _, p := range ps[:hidden] {
			c.slabs.Free(p)
		}
	}
}

// An object that is given twice makes a ring of the list. The drain ends nevertheless, reports
// the object, and loses it rather than free it twice.
func TestFreeDeferredTwice(t *testing.T) {
	c := openRecorder(t, nil, Config{Size: 64})
	p := take(t, c.Cache, 1)[0]
	c.FreeDeferred(p)
	c.deferFree.given.Add(1) // as a FreeDeferred at the same instant
	c.listDeferred(p)
	c.drain(drainAll)
	if len(c.Reports) != 1 || !strings.Contains(c.Reports[0].Detail, "twice") {
		t.Errorf("reports %v", c.Reports)
	}
	for range 100 {
		if q := take(t, c.Cache, 1)[0]; q == p {
			t.Error("an object that was given twice was handed out")
		} else {
			defer c.Free(q)
		}
	}
	c.deferFree.done.Add(2)
	c.slabs.Free(p)
}

// Any number of goroutines may call FreeDeferred and drain at the same time.
func TestFreeDeferredConcurrently(t *testing.T) {
	c := open(t, nil, Config{Size: 64})
	const each = 20_000
	var running atomic.Int32
	workers := runtime.NumCPU() + 2
	running.Store(int32(workers))
	for range workers {
		go func() {
			defer running.Add(-1)
			for range each {
				p, err := c.Alloc()
				if err != nil {
					t.Error(err)
					return
				}
				c.FreeDeferred(p)
			}
		}()
	}
	for running.Load() > 0 {
		c.drain(drainAll)
	}
	_ = c.drainWait(context.Background()) // a sweep may be running
	if s := c.Stats(); s.InUse != 0 || s.DeferredObjects != 0 {
		t.Errorf("%d in use, %d deferred", s.InUse, s.DeferredObjects)
	}
}
