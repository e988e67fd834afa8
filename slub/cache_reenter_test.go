package slub_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/slub"
)

// A reentrantCaller calls a cache from within the cache's own operations, on their goroutine, at
// the points where they hold its locks. It counts the calls.
type reentrantCaller struct {
	c      *slub.Cache
	inside atomic.Bool
	ring   [8]unsafe.Pointer // objects of its own
	next   int
	at     [invariants.NumPoints]int // calls
	made   map[string]int            // operations that had an object
	plain  bool                      // it calls Alloc, Free and FreeRCU, too, under a stack's lock
}

// reach is called at every point, by all goroutines. It lets one call in at a time, and none from
// within another.
func (in *reentrantCaller) reach(p invariants.Point) {
	if !in.inside.CompareAndSwap(false, true) {
		return
	}
	defer in.inside.Store(false)
	in.at[p]++
	if in.plain && p == invariants.StackHeld {
		in.step("Alloc", in.c.Alloc, "Free", in.c.Free)
		in.step("Alloc", in.c.Alloc, "FreeRCU", in.c.FreeRCU)
	}
	in.step("AllocNoWait", in.c.AllocNoWait, "FreeDeferred", in.c.FreeDeferred)
}

// step exchanges an object of the ring for a new one.
func (in *reentrantCaller) step(get string, alloc func() (unsafe.Pointer, error), put string, free func(unsafe.Pointer)) {
	i := in.next % len(in.ring)
	in.next++
	if p := in.ring[i]; p != nil {
		if !painted(p, 64, uint64(i)) {
			panic("an object of the ring was changed")
		}
		free(p)
		in.made[put]++
		in.ring[i] = nil
	}
	switch p, err := alloc(); {
	case err == nil:
		paint(p, 64, uint64(i))
		in.ring[i] = p
		in.made[get]++
	case !errors.Is(err, slub.ErrWouldBlock):
		panic(err)
	}
}

// disturbed runs every operation of a cache with a reentrantCaller at each point.
func disturbed(t *testing.T, flags slub.Flags, plain bool) *reentrantCaller {
	c := open(t, nil, slub.Config{Size: 64, Flags: flags, RCUDelay: time.Hour})
	in := &reentrantCaller{c: c, made: map[string]int{}, plain: plain}
	for i, p := range take(t, c, len(in.ring)) {
		paint(p, 64, uint64(i))
		in.ring[i] = p
	}
	defer invariants.Interrupt(in.reach)()
	for range 3 {
		var all []unsafe.Pointer
		for _, way := range ways {
			if flags&slub.NoSheaves == 0 {
				all = append(all, way(t, c, 300)...)
			}
		}
		all = append(all, take(t, c, 700)...)
		for i, p := range all {
			paint(p, 64, uint64(i)<<8)
		}
		for i, p := range all {
			if !painted(p, 64, uint64(i)<<8) {
				t.Fatalf("%p has two owners", p)
			}
		}
		backs["FreeBulk"](c, all[:len(all)/3])
		for _, p := range all[len(all)/3 : len(all)/3*2] {
			c.FreeRCU(p)
		}
		freeAll(c, all[len(all)/3*2:])
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.Shrink()
		c.Stats()
	}
	return in
}

// Operations that are called while the cache holds a lock neither deadlock nor lose an object.
// These are Alloc, Free and FreeRCU under a stack's lock, where they use slabs and the queue, and
// AllocNoWait and FreeDeferred under every lock.
func TestReentry(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	everywhere := []invariants.Point{invariants.StackHeld, invariants.BarnHeld, invariants.NodeHeld}
	for name, test := range map[string]struct {
		flags  slub.Flags
		plain  bool
		points []invariants.Point
		found  []string // operations that had an object at least once
	}{
		"all":     {plain: true, points: everywhere, found: []string{"Alloc", "Free", "FreeRCU", "AllocNoWait", "FreeDeferred"}},
		"no wait": {points: everywhere, found: []string{"AllocNoWait", "FreeDeferred"}},
		// AllocNoWait finds nothing: the lock that is held protects all objects.
		"no sheaves": {flags: slub.NoSheaves, points: []invariants.Point{invariants.NodeHeld}, found: []string{"FreeDeferred"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := disturbed(t, test.flags, test.plain)
			for _, p := range test.points {
				if in.at[p] == 0 {
					t.Errorf("point %d was never reached", p)
				}
			}
			for _, o := range test.found {
				if in.made[o] == 0 {
					t.Errorf("no %s found an object", o)
				}
			}
			t.Logf("at %v, operations %v", in.at, in.made)
			in.settle(t)
		})
	}
}

// An object that is freed into a slab while AllocNoWait takes another out of it is not lost.
func TestNoWaitMeetsFree(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	ps := take(t, c, c.Stats().ObjectsPerSlab)
	freeAll(c, ps[:3])
	free := true
	end := invariants.Interrupt(func(invariants.Point) {
		if free {
			free = false
			c.Free(ps[3]) // changes no list, and so takes no lock
		}
	})
	got := all(t, c)
	end()
	if len(got) != 4 || c.Stats().Events[slub.CmpxchgDoubleFail] == 0 {
		t.Errorf("%d of 4 free objects", len(got))
	}
	freeAll(c, append(got, ps[4:]...))
}

// settle compares the objects of the ring with the cache's statistics, and frees them.
func (in *reentrantCaller) settle(t *testing.T) {
	if err := in.c.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	held := 0
	for _, p := range in.ring {
		if p != nil {
			held++
		}
	}
	if s := in.c.Stats(); s.InUse != uint64(held) || s.DeferredObjects != 0 || s.RCUObjects != 0 {
		t.Errorf("the ring holds %d objects: %+v", held, s)
	}
	for _, p := range in.ring {
		in.c.FreeDeferred(p)
	}
}
