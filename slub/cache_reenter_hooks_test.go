package slub_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/slub"
)

// Hooks, constructors and destructors must not call their own cache, except AllocNoWait and
// FreeDeferred: they would call themselves without end. If they do and bound it, nothing
// deadlocks and nothing is lost: none is called under a lock that Alloc, Free or FreeRCU wait
// for.
func TestPlainOperationsInHooks(t *testing.T) {
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "no sheaves": slub.NoSheaves} {
		t.Run(name, func(t *testing.T) {
			reenterFromHooks(t, flags)
		})
	}
}

func reenterFromHooks(t *testing.T, flags slub.Flags) {
	in := &reentrantCaller{made: map[string]int{}, plain: true}
	// What the reentrant caller frees calls hooks again later. Without a bound the calls would
	// double with every grace period.
	var left, called [4]atomic.Int64
	reenter := func(from int) {
		if left[from].Add(-1) >= 0 {
			called[from].Add(1)
			in.reach(invariants.StackHeld)
		}
	}
	cfg := slub.Config{Size: 64, Flags: flags, RCUDelay: time.Millisecond, Hooks: hooks.Hooks{
		Alloc:   func(hooks.Object) { reenter(0) },
		Free:    func(hooks.Object) bool { reenter(1); return false },
		NewSlab: func(hooks.Slab) { reenter(2) },
	}}
	if flags&slub.NoSheaves == 0 {
		cfg.RCUDtor = func(unsafe.Pointer) { reenter(3) }
	}
	c := open(t, nil, cfg)
	in.c = c
	for range 3 {
		for in, way := range ways {
			// The reentrant caller may take the objects that AllocNoWait needs.
			if in == "AllocNoWait" || flags&slub.NoSheaves != 0 && in == "Prefill" {
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
	// A timer may still be calling the destructor.
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
