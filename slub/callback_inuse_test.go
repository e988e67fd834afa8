package slub

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// While objects are reclaimed or drained, InUse doesn't move: it is read during every call of a
// hook and a destructor, when some of the objects are free and others are not.
func TestInUseWhileReclaiming(t *testing.T) {
	const inUse = 100
	for name, tt := range map[string]struct {
		flags Flags
		held  bool
		free  func(*Cache, unsafe.Pointer)
		run   func(*Cache)
	}{
		"sheaves, timer":   {free: (*Cache).FreeRCU, run: func(c *Cache) { c.sheaves.StartAll(); graceOver(c); c.sheaves.ReclaimReady() }},
		"sheaves, Barrier": {free: (*Cache).FreeRCU, run: barrier},
		"sheaves, Alloc": {free: (*Cache).FreeRCU, run: func(c *Cache) {
			c.sheaves.StartAll()
			graceOver(c)
			ps := make([]unsafe.Pointer, 500)
			_ = c.AllocBulk(ps)
			c.FreeBulk(ps)
		}},
		"queue":            {held: true, free: (*Cache).FreeRCU, run: barrier},
		"no sheaves":       {flags: NoSheaves, free: (*Cache).FreeRCU, run: barrier},
		"FreeDeferred":     {free: (*Cache).FreeDeferred, run: func(c *Cache) { c.drain(drainAll) }},
		"FreeDeferred too": {flags: NoSheaves, free: (*Cache).FreeDeferred, run: func(c *Cache) { c.drain(drainAll) }},
	} {
		t.Run(name, func(t *testing.T) {
			var c *Cache
			watching, readings := false, 0
			low, high := uint64(inUse), uint64(inUse)
			read := func() {
				if !watching {
					return
				}
				n := c.Stats().InUse
				readings++
				low, high = min(low, n), max(high, n)
			}
			cfg := Config{Size: 64, Flags: tt.flags, RCUDelay: time.Hour, Domain: new(rcu.Domain), SheafCapacity: 20,
				Hooks: hooks.Hooks{Free: func(hooks.Object) bool { read(); return false }}}
			if tt.flags&NoSheaves == 0 {
				cfg.RCUDtor = func(unsafe.Pointer) { read() }
			}
			DelaySweep()
			c = open(t, nil, cfg)
			live := take(t, c, inUse)
			release := func() {}
			ps := take(t, c, 300)
			if tt.held {
				release = holdStacks(c, percpu.RCU)
			}
			for i, p := range ps {
				tt.free(c, p)
				if tt.held {
					continue // Stats would wait for the stacks
				}
				if n := c.Stats().InUse; n != uint64(inUse+len(ps)-1-i) {
					t.Fatalf("%d of %d freed: %d in use", i+1, len(ps), n)
				}
			}
			release()
			// In AllocBulk's and FreeBulk's own objects the reading overlaps the operation.
			watching = name != "sheaves, Alloc"
			tt.run(c)
			read()
			watching = false
			if low != inUse || high != inUse || name != "sheaves, Alloc" && readings < 300 {
				t.Errorf("%d in use: %d readings from %d to %d", inUse, readings, low, high)
			}
			if n := c.Stats().InUse; n != inUse {
				t.Errorf("%d in use, want %d", n, inUse)
			}
			c.FreeBulk(live)
		})
	}
}

func barrier(c *Cache) { _ = c.Barrier(context.Background()) }

// Objects of prefilled sheaves are in use from Prefill on, whether they were taken or not, freed or
// put back, and also after Close.
func TestInUseOfPrefilled(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, nil, Config{Size: 64, SheafCapacity: 20})
	expect := func(when string, want int) {
		t.Helper()
		if n := c.Stats().InUse; n != uint64(want) {
			t.Errorf("%s: %d in use, want %d", when, n, want)
		}
	}
	p, err := c.Prefill(10)
	if err != nil {
		t.Fatal(err)
	}
	lent := p.Len()
	expect("lent", lent)
	objs := []unsafe.Pointer{p.Alloc(), p.Alloc(), p.Alloc()}
	expect("three are taken", lent)
	c.Free(objs[0])
	expect("one of them is freed", lent-1)
	want := lent - 1
	if !p.Free(objs[1]) {
		c.Free(objs[1])
		want--
		if !c.instrumented() { // an instrumented cache takes nothing back
			t.Error("the sheaf has no room")
		}
	}
	expect("one is put back", want)
	if err := p.Refill(200); err != nil {
		t.Fatal(err)
	}
	expect("a larger sheaf", p.Len()+1)
	all := p.Len()
	for obj := p.Alloc(); obj != nil; obj = p.Alloc() {
		objs = append(objs, obj)
	}
	expect("all are taken", all+1)
	c.FreeBulk(objs[2:])
	expect("all are freed", 0)
	same(t, "Close with an empty sheaf out", c.Close(), nil)
	p.Return()
	expect("returned after Close", 0)
}
