package slub_test

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// An online reader calls FreeRCU when there is no memory for the queue. It does not wait for itself
// for ever: the wait times out, and the object goes to a callback.
func TestLastResortOfAReader(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{})
	p := take(t, m.Cache, 1)[0]
	r := register(t, m.Domain())
	again := noMemory(t, 0)
	release := holdStacks(m.Cache, percpu.RCU)
	m.FreeRCU(p)
	release()
	again()
	if s := m.Stats(); s.RCUQueue != (slub.QueueStats{Callback: 1}) || m.Died.Load() != 0 {
		t.Errorf("%+v, %d destroyed", s.RCUQueue, m.Died.Load())
	}
	_ = r.Close()
	same(t, "Close", m.Close(), nil)
	if d := m.Died.Load(); d != 1 {
		t.Errorf("destroyed %d times", d)
	}
}

// RCUDelay bounds how long an object in the queue waits for its grace period to start, as it does
// for objects in sheaves.
func TestRCUDelayBoundsTheQueue(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{RCUDelay: 2 * time.Millisecond, Ctor: func(unsafe.Pointer) {}})
	again := noMemory(t, 1)
	release := holdStacks(m.Cache, percpu.RCU)
	ps := take(t, m.Cache, freequeue.PageCap+7)
	freeRCU(m.Cache, ps[:3])
	within(t, "the end of three objects", func() bool { return m.Died.Load() == 3 })
	freeRCU(m.Cache, ps[3:])
	release()
	again()
	within(t, "the end of the others, some of them linked", func() bool { return m.Died.Load() == freequeue.PageCap+7 })

	b := openBuckets(t, nil, slub.BucketsConfig{Domain: new(rcu.Domain)})
	b.FreeRCU(malloc(t, b, 1_200_000))
	within(t, "the end of a page run", func() bool { return largeInUse(b) == 0 })
}

// A FreeRCU waits at the hard limit, and no timer runs. The backlog's expedited round reclaims the
// objects in the queue, which makes room.
func TestQueueIsExpedited(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour, RCUHardLimit: 640, RCUMaxWait: slub.Unlimited})
	ps := take(t, c, 100)
	freeRCU(c, ps) // hangs if nothing makes room
	if s := c.Stats().Backlog; s.Waits == 0 || s.Overruns != 0 || s.Peak != 640 {
		t.Errorf("%+v", s)
	}
}

// The queue allocates no Go memory, also when it starts, reclaims and reuses pages.
func TestFallbackAllocatesNothing(t *testing.T) {
	withoutSamples(t) // a sample takes Go memory
	if sanitized || invariants.Enabled {
		t.Skip("sanitizers and checks allocate")
	}
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour, MinPartial: 100})
	ps := make([]unsafe.Pointer, 3*freequeue.PageCap)
	if n := testutil.GoAllocs(20, func() {
		for i := range ps {
			ps[i], _ = c.Alloc()
		}
		for _, p := range ps {
			c.FreeRCU(p)
		}
	}); n != 0 {
		t.Errorf("%v Go allocations for %d objects", n, len(ps))
	}
}

// A destructor may give other objects to FreeRCUNoWait, until the cache is closed.
func TestFreeRCUNoWaitInDestructor(t *testing.T) {
	for _, limit := range []int64{0, 1} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			var c *slub.Cache
			var next []unsafe.Pointer
			died := 0
			c = open(t, nil, slub.Config{Size: 64, Domain: new(rcu.Domain), RCUHardLimit: limit, RCUMaxWait: slub.Unlimited, RCUDelay: time.Hour,
				RCUDtor: func(unsafe.Pointer) {
					if died++; len(next) > 0 {
						p := next[0]
						next = next[1:]
						c.FreeRCUNoWait(p)
					}
				}})
			next = take(t, c, 300)
			p := next[0]
			next = next[1:]
			c.FreeRCU(p)
			for range 300 {
				same(t, "Barrier", c.Barrier(context.Background()), nil)
			}
			if same(t, "Close", c.Close(), nil); died != 300 {
				t.Errorf("%d of 300 destroyed", died)
			}
		})
	}
}
