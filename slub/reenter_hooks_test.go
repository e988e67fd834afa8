package slub

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/invariants"
)

// Hooks, constructors and destructors may not use the cache that calls them, but for
// AllocNoWait and FreeDeferred, since they would call themselves without an end. If they
// do, and see to the end, nothing deadlocks and nothing is lost: none is called with a
// lock that Alloc, Free or FreeRCU wait for.
func TestPlainOperationsInHooks(t *testing.T) {
	for name, flags := range map[string]Flags{"sheaves": 0, "no sheaves": NoSheaves} {
		t.Run(name, func(t *testing.T) {
			intrudeFromHooks(t, flags)
		})
	}
}

func intrudeFromHooks(t *testing.T, flags Flags) {
	in := &intruder{made: map[string]int{}, plain: true}
	// What an intruder frees calls hooks again, later: without a bound on the calls they
	// would double with every grace period.
	var left, called [4]atomic.Int64
	intrude := func(from int) {
		if left[from].Add(-1) >= 0 {
			called[from].Add(1)
			in.reach(invariants.StackHeld)
		}
	}
	cfg := Config{Size: 64, Flags: flags, RCUDelay: time.Millisecond, Hooks: hooks.Hooks{
		Alloc:   func(hooks.Object) { intrude(0) },
		Free:    func(hooks.Object) bool { intrude(1); return false },
		NewSlab: func(hooks.Slab) { intrude(2) },
	}}
	if flags&NoSheaves == 0 {
		cfg.RCUDtor = func(unsafe.Pointer) { intrude(3) }
	}
	c := open(t, nil, cfg)
	in.c = c
	for range 3 {
		for in, way := range ways {
			// What AllocNoWait finds at hand, the intruder may take.
			if in == "AllocNoWait" || flags&NoSheaves != 0 && in == "Prefill" {
				continue
			}
			for _, back := range backs {
				for from := range left {
					left[from].Store(300)
				}
				ps := way(t, c, 300)
				for i, p := range ps {
					paint(p, 64, uint64(i)<<8)
				}
				for i, p := range ps {
					if !painted(p, 64, uint64(i)<<8) {
						t.Errorf("%p has two owners", p)
						return
					}
				}
				back(c, ps)
			}
		}
		c.Shrink()
	}
	for from := range left {
		left[from].Store(0)
	}
	// A timer may have called the destructor, and that be at it still.
	if err := c.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	for from := range called {
		if called[from].Load() == 0 && (from < 3 || cfg.RCUDtor != nil) {
			t.Errorf("hook %d was never called", from)
		}
	}
	for _, o := range []string{"Alloc", "Free", "FreeRCU", "FreeDeferred"} {
		if in.made[o] == 0 {
			t.Errorf("no %s found an object", o)
		}
	}
	in.settle(t)
	counted(t, c, "in the end")
}
