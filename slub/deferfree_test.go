package slub

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// drains are the calls that end what FreeDeferred began.
var drains = map[string]func(*Cache){
	"Barrier":   func(c *Cache) { _ = c.Barrier(context.Background()) },
	"Shrink":    func(c *Cache) { c.Shrink() },
	"the timer": func(*Cache) { sweep() },
	"Alloc":     func(c *Cache) { freeAll(c, []unsafe.Pointer{first(c.Alloc())}) },
	"AllocBulk": func(c *Cache) {
		ps := make([]unsafe.Pointer, 1)
		_ = c.AllocBulk(ps)
		c.Free(ps[0])
	},
	"Close": func(c *Cache) { _ = c.Close() },
}

func first(p unsafe.Pointer, _ error) unsafe.Pointer { return p }

// emptyMain leaves the calling CPU's sheaves without objects, so that the next Alloc
// looks further.
func emptyMain(c *Cache) {
	if c.sheaves != nil {
		c.sheaves.Flush()
	}
}

// Every drain frees what was given, those of allocations no more than drainMost at once,
// and until then it is neither in use nor free.
func TestFreeDeferred(t *testing.T) {
	for _, flags := range []Flags{0, NoSheaves} {
		for how, drain := range drains {
			freed := 0
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
				c.FreeDeferred(ps[70]) // the list goes on beside the rest
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
	sweepArmed.Store(false)
	open(t, nil, Config{Size: 64})
	if !sweepArmed.Swap(false) {
		t.Error("New did not set the timer")
	}
	if sweep(); !sweepArmed.Load() {
		t.Error("the timer did not set itself again")
	}
}

// What nobody has missed from one sweep to the next goes back to its slabs, once for a
// cache and its aliases.
func TestSweepFlushesIdleBarns(t *testing.T) {
	c := open(t, nil, Config{Size: 64})
	open(t, nil, Config{Size: 64}) // an alias
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

// Nobody waits for a drain but Barrier and Close, which do: an object in the drain's
// hands is neither free nor a leak.
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

// What hooks and destructors give to FreeDeferred is free after Close, however deep
// that goes: each object of a chain has its destructor or hook free the next. They may
// call AllocNoWait, too.
func TestFreeDeferredFromHooks(t *testing.T) {
	for name, withHook := range map[string]bool{"destructor": false, "Free hook": true} {
		var c *Cache
		next := map[uintptr]unsafe.Pointer{}
		var more []unsafe.Pointer
		calls := 0
		end := func(addr uintptr) {
			c.FreeDeferred(next[addr])
			delete(next, addr) // the next owner of addr has none
			if calls++; calls < 5 {
				more = append(more, first(c.AllocNoWait()))
				return
			}
			for _, p := range more {
				c.FreeDeferred(p)
			}
			more = nil
		}
		cfg := Config{Size: 64}
		if withHook {
			cfg.Hooks.Free = func(o hooks.Object) bool { end(o.Addr); return false }
		} else {
			cfg.RCUDtor = func(p unsafe.Pointer) { end(uintptr(p)) }
		}
		c = open(t, nil, cfg)
		ps := take(t, c, 20)
		if withHook {
			for i, p := range ps[1:] {
				next[uintptr(ps[i])] = p
			}
			c.Free(ps[0])
		} else {
			for i, p := range ps[:10] {
				next[uintptr(p)] = ps[10+i]
				c.FreeRCU(p)
			}
		}
		if err := c.Close(); err != nil || calls < 10 || more != nil {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
}

// A free pointer that somebody wrote over is reported when the list comes to it. What
// it hid stays on record, and Close tells where it is.
func TestFreeDeferredCorrupt(t *testing.T) {
	for name, wrong := range map[string]func(c *tattler, p unsafe.Pointer) uint64{
		"out of the arena": func(c *tattler, p unsafe.Pointer) uint64 { return 0xdead << 40 },
		"a page without slab": func(c *tattler, p unsafe.Pointer) uint64 {
			return c.slabs.encode(uintptr(p)+c.layout.fp, c.Arena().Base()+c.Arena().Span()-mem.PageSize)
		},
		"the middle of an object": func(c *tattler, p unsafe.Pointer) uint64 {
			return c.slabs.encode(uintptr(p)+c.layout.fp, uintptr(p)+8)
		},
	} {
		c := openTattler(t, nil, Config{Size: 64})
		ps := take(t, c.Cache, 6)
		for _, p := range ps {
			c.FreeDeferred(p)
		}
		const hidden = 2 // given before the one in question
		*mem.At[uint64](uintptr(ps[hidden]) + c.layout.fp) = wrong(c, ps[hidden])
		c.drain(drainAll)
		if len(c.reports) != 1 || c.reports[0].Kind != hooks.FreelistCorrupt || c.reports[0].Addr != uintptr(ps[hidden]) {
			t.Errorf("%s: reports %v", name, c.reports)
		}
		if s := c.Stats(); s.DeferredObjects != hidden {
			t.Errorf("%s: %d objects deferred, want the %d that were hidden", name, s.DeferredObjects, hidden)
		}
		same(t, "Close", c.Close(), ErrBusy)
		c.deferFree.pending.Add(-hidden)
		for _, p := range ps[:hidden] {
			c.slabs.free(uintptr(p))
		}
	}
}

// An object that is given twice makes a ring of the list. The drain ends all the same,
// says whose fault it is, and rather loses an object than to free it twice.
func TestFreeDeferredTwice(t *testing.T) {
	c := openTattler(t, nil, Config{Size: 64})
	p := take(t, c.Cache, 1)[0]
	c.FreeDeferred(p)
	c.FreeDeferred(p)
	c.drain(drainAll)
	if len(c.reports) != 1 || !strings.Contains(c.reports[0].Detail, "twice") {
		t.Errorf("reports %v", c.reports)
	}
	for range 100 {
		if q := take(t, c.Cache, 1)[0]; q == p {
			t.Error("an object that was given twice was handed out")
		} else {
			defer c.Free(q)
		}
	}
	c.deferFree.pending.Add(-2)
	c.slabs.free(uintptr(p))
}

// Any number of goroutines may give and drain at once.
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
	c.drainWait() // the sweep may be at it
	if s := c.Stats(); s.InUse != 0 || s.DeferredObjects != 0 {
		t.Errorf("%d in use, %d deferred", s.InUse, s.DeferredObjects)
	}
}
