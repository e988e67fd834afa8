package slub_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// Several goroutines call FreeRCU. Beside them memory runs out at times, other goroutines lock the
// CPUs' stacks and call Barrier, a reader reports at random, and the timer runs. Each FreeRCU
// destroys its object once, and no object is lost.
func TestFallbackStress(t *testing.T) {
	for name, cfg := range map[string]slub.Config{
		"links":    {Ctor: func(p unsafe.Pointer) { *(*uint64)(p) = free }},
		"no links": {RCUHardLimit: 64 << 10, RCUMaxWait: time.Millisecond, FreePtrOffset: slub.At(8)},
	} {
		t.Run(name, func(t *testing.T) { fallbackStress(t, cfg) })
	}
}

// The first word of an object says what has become of it. In new slabs it is free: the constructor
// stores that, or the memory is zero.
const (
	free = iota
	alive
	given
)

func fallbackStress(t *testing.T, cfg slub.Config) {
	seed := testutil.Seed(t)
	each := testutil.Stress(t, 300_000)
	var c *slub.Cache
	var died atomic.Int64
	domain := new(rcu.Domain)
	cfg.Size, cfg.Domain, cfg.RCUDelay = 64, domain, time.Millisecond
	cfg.RCUDtor = func(p unsafe.Pointer) {
		if !atomic.CompareAndSwapUint64((*uint64)(p), given, free) {
			t.Errorf("%p is destroyed and was not given", p)
		}
		died.Add(1)
	}
	c = open(t, nil, cfg)
	var stop atomic.Bool
	var users, others sync.WaitGroup
	for id := range uint64(4) {
		users.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, id))
			for range each / 4 {
				p, err := c.Alloc()
				for ; err != nil; p, err = c.Alloc() {
					runtime.Gosched() // there may be no memory for a sheaf
				}
				if old := atomic.SwapUint64((*uint64)(p), alive); old == alive || old == given {
					t.Errorf("%p is handed out in life %d", p, old)
				}
				atomic.StoreUint64((*uint64)(p), given)
				if rnd.IntN(4) > 0 {
					c.FreeRCUNoWait(p)
				} else {
					c.FreeRCU(p)
				}
			}
		})
	}
	others.Go(func() { // memory
		for rnd := rand.New(rand.NewPCG(seed, 11)); !stop.Load(); {
			restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
			var hoard freequeue.Hoard
			for hoard.Take() && rnd.IntN(8) > 0 {
			}
			time.Sleep(time.Duration(rnd.IntN(2000)) * time.Microsecond)
			restore()
			hoard.Give(math.MaxInt)
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
		}
	})
	others.Go(func() { // stacks
		for rnd := rand.New(rand.NewPCG(seed, 12)); !stop.Load(); {
			release := holdStacks(c, []percpu.Kind{percpu.RCU, percpu.Main}[rnd.IntN(2)])
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
			release()
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
		}
	})
	others.Go(func() { // a reader
		r := domain.Register("stress")
		defer r.Close()
		for rnd := rand.New(rand.NewPCG(seed, 13)); !stop.Load(); r.Quiescent() {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		}
	})
	others.Go(func() { // Barriers
		for !stop.Load() {
			same(t, "Barrier", c.Barrier(context.Background()), nil)
			time.Sleep(3 * time.Millisecond)
		}
	})
	users.Wait()
	stop.Store(true)
	others.Wait()
	same(t, "Barrier", c.Barrier(context.Background()), nil)
	s := c.Stats()
	if n := died.Load(); n != int64(each/4*4) || s.InUse != 0 || s.RCUObjects != 0 || s.Backlog.Bytes != 0 {
		t.Errorf("%d destroyed of %d, %d in use, %d wait, %d bytes charged", n, each/4*4, s.InUse, s.RCUObjects, s.Backlog.Bytes)
	}
	if s.Events[slub.FreeRCUSheaf]+s.Events[slub.FreeSlowpath] != uint64(each/4*4) {
		t.Errorf("%d through sheaves, %d through the queue", s.Events[slub.FreeRCUSheaf], s.Events[slub.FreeSlowpath])
	}
	t.Logf("sheaves %d, queue %d (%+v), backlog %+v", s.Events[slub.FreeRCUSheaf], s.Events[slub.FreeSlowpath], s.RCUQueue, s.Backlog)
}
