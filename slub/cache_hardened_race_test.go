package slub

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
)

// Two goroutines free one object at the same time, in all ways. One of the frees is reported, each
// time, and the object is free once.
func TestHardenedFreesAtOnce(t *testing.T) {
	ways := map[string]func(*Cache, unsafe.Pointer){
		"Free": (*Cache).Free, "FreeRCU": (*Cache).FreeRCU, "FreeDeferred": (*Cache).FreeDeferred,
		"FreeBulk": func(c *Cache, p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
	}
	const over = math.MaxUint64
	rounds := uint64(testutil.Stress(t, 20_000))
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			var reports atomic.Uint64
			c := open(t, nil, Config{Size: 64, Hardened: On, Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports.Add(1) }}})
			var object atomic.Pointer[byte]
			var turn, done atomic.Uint64
			go func() {
				defer done.Store(over)
				for i := uint64(1); i <= rounds; i++ {
					if spinUntil(&turn, i); turn.Load() == over {
						return
					}
					c.Free(unsafe.Pointer(object.Load()))
					done.Store(i)
				}
			}()
			for i := uint64(1); i <= rounds; i++ {
				p, err := c.Alloc()
				if err != nil {
					t.Fatal(err)
				}
				object.Store((*byte)(p))
				turn.Store(i)
				for range i % 128 { // until the other goroutine sees its turn, or a little longer
					turn.Load()
				}
				way(c, p)
				spinUntil(&done, i)
				if n := reports.Load(); n != i {
					t.Errorf("%d reports after %d rounds", n, i)
					break
				}
			}
			turn.Store(over)
			spinUntil(&done, over)
			same(t, "Barrier", c.Barrier(t.Context()), nil)
			if n := c.Stats().InUse; n != 0 && !t.Failed() {
				t.Errorf("%d objects are in use", n)
			}
		})
	}
}

func spinUntil(word *atomic.Uint64, n uint64) {
	for spins := 0; word.Load() < n; spins++ {
		if spins%1000 == 999 {
			runtime.Gosched()
		}
	}
}
