package slub

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/slab"
)

// replaceSlabs gives a cache that has not been used other slabs, with a changed config.
func (c *Cache) replaceSlabs(t *testing.T, change func(*slab.Config)) {
	t.Helper()
	cfg, err := c.slabConfig(c.Arena(), c.slabs.Order())
	same(t, "slabConfig", err, nil)
	change(&cfg)
	c.slabs.FreeCounters()
	c.slabs, err = slab.New(cfg)
	same(t, "slab.New", err, nil)
}

// Close waits while another goroutine gives the last slab back, and after a second fails.
func TestCloseWaitsForSlab(t *testing.T) {
	for name, comes := range map[string]bool{"comes": true, "doesn't come": false} {
		t.Run(name, func(t *testing.T) {
			c := open(t, nil, Config{Size: 64, Flags: NoSheaves | TypesafeByRCU, MinPartial: 1})
			inside, leave := make(chan bool), make(chan bool)
			c.replaceSlabs(t, func(cfg *slab.Config) {
				cfg.AfterGracePeriod = func(f func()) {
					close(inside)
					<-leave
					f()
				}
			})
			p := take(t, c, 1)[0]
			c.slabs.SetMinPartial(arena.None)
			freed := make(chan bool)
			go func() { defer close(freed); c.Free(p) }()
			<-inside
			err := c.CloseContext(canceled(t))
			same(t, "CloseContext", err, context.Canceled)
			if !strings.Contains(err.Error(), "slabs are not back") {
				t.Error(err)
			}
			if !comes {
				err := c.Close()
				same(t, "Close", err, ErrBusy)
				if !strings.Contains(err.Error(), "not back") {
					t.Error(err)
				}
				close(leave)
				<-freed
				return
			}
			closed := make(chan error)
			go func() { closed <- c.Close() }()
			within(t, "Close begins", c.closed.Load)
			time.Sleep(5 * time.Millisecond)
			close(leave)
			same(t, "Close", <-closed, nil)
			<-freed
		})
	}
}

// Close also waits for an object that goes to the queue while Close is running: it has two
// barriers, one before the cache is closed and one after.
func TestCloseWaitsForLateFreeRCU(t *testing.T) {
	var died atomic.Int64
	goOn := make(chan bool)
	domain := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Domain: domain, RCUDtor: func(unsafe.Pointer) {
		if died.Add(1) > 1 {
			<-goOn
		}
	}})
	ps := take(t, c, 2)
	c.FreeRCU(ps[0])
	caches.mu.Lock() // Close needs it after its first barrier
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	within(t, "Close waits for the first object", func() bool { return died.Load() == 1 })
	c.freeQueue.Add(ps[1], 0, int64(c.layout.slot), backlog.MayWait)
	within(t, "the destruction of the second begins", func() bool { return died.Load() == 2 })
	caches.mu.Unlock()
	select {
	case err := <-closed:
		t.Errorf("Close did not wait: %v", err)
		close(goOn)
	case <-time.After(20 * time.Millisecond):
		close(goOn)
		same(t, "Close", <-closed, nil)
	}
}

// CloseContext also gives up wherever it waits for a reader that came after its first barrier,
// and continues there when it is called again.
func TestCloseContextInTheMiddle(t *testing.T) {
	for name, at := range map[string]struct {
		flags Flags
		late  func(*Cache, unsafe.Pointer)
	}{
		"sheaves": {0, (*Cache).Free},
		"queue":   {NoSheaves, func(c *Cache, p unsafe.Pointer) { c.freeQueue.Add(p, 0, int64(c.layout.slot), backlog.MayWait) }},
		"slabs":   {NoSheaves | TypesafeByRCU, (*Cache).Free},
	} {
		t.Run(name, func(t *testing.T) {
			d := new(rcu.Domain)
			var died atomic.Int64
			c := open(t, nil, Config{Size: 64, Domain: d, Flags: at.flags, Hooks: hooks.Hooks{
				Free: func(hooks.Object) bool { died.Add(1); return false }}})
			ps := take(t, c, 2)
			reader := d.Register("holder")
			defer reader.Close()
			reader.Offline()
			c.FreeRCU(ps[0])
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			caches.mu.Lock() // CloseContext needs it after its first barrier
			closed := make(chan error)
			go func() { closed <- c.CloseContext(ctx) }()
			within(t, "the first barrier ends", func() bool { return died.Load() == 1 })
			reader.Online()
			at.late(c, ps[1])
			caches.mu.Unlock()
			within(t, "it is closed to allocations", c.closed.Load)
			err := elsewhere(canceled(t), c.CloseContext)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another Close is under way") {
				t.Errorf("during another: %v", err)
			}
			giveUp()
			if err := <-closed; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "rcu: ") {
				t.Errorf("in the middle: %v", err)
			}
			_, err = c.Alloc()
			same(t, "Alloc", err, ErrClosed)
			if c.finished {
				t.Error("it counts as closed")
			}
			reader.Offline()
			same(t, "CloseContext", c.CloseContext(t.Context()), nil)
		})
	}
}

// An allocation that takes a slab only after Close has counted leaves none behind either.
func TestClosedCacheKeepsNoSlab(t *testing.T) {
	for _, tuned := range []bool{false, true} {
		a := newArena(t, arena.Config{})
		c := open(t, a, Config{Size: 64})
		same(t, "Close", c.Close(), nil)
		if tuned {
			c.SetMinPartial(9)
		}
		objs := make([]unsafe.Pointer, 3)
		if n, err := c.slabs.Take(0, objs, false); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		c.slabs.FreeBulk(objs)
		if n := usedBytes(t, a, c.domain); n != 0 {
			t.Errorf("%d bytes are used, SetMinPartial called: %t", n, tuned)
		}
	}
}

// The pages of a large object go back if the Buckets are closed during the allocation.
func TestCloseDuringLargeAlloc(t *testing.T) {
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, BucketsConfig{})
	b.large.mu.Lock() // stops it when it has the mapping
	got := make(chan error)
	go func() {
		_, err := b.Malloc(kinds["mapping"])
		got <- err
	}()
	within(t, "the mapping", func() bool { return a.Stats().Mapped > 0 })
	b.closed.Store(true)
	b.large.mu.Unlock()
	same(t, "Malloc", <-got, ErrClosed)
	if s := a.Stats(); s.Mapped != 0 || b.large.inUse.Load() != 0 || b.large.bytes.Load() != 0 {
		t.Errorf("%d bytes are mapped, %d objects in use", s.Mapped, b.large.inUse.Load())
	}
}

// TestTypesafeCloseWaitsForAll: Close waits until all retired slabs are back, also those that the
// first callback leaves to another one. A Barrier that doesn't have to wait for the second callback
// does so nevertheless, if a queue that it waits for comes later: hence the rounds.
func TestTypesafeCloseWaitsForAll(t *testing.T) {
	for range 8 {
		t.Run("round", typesafeCloseWaits)
	}
}

func typesafeCloseWaits(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Size: 64, Flags: NoSheaves | TypesafeByRCU, Domain: new(rcu.Domain)})
	callbacks := 0 // they run one at a time; the first ends while Close waits for it
	c.replaceSlabs(t, func(cfg *slab.Config) {
		cfg.AfterGracePeriod = func(f func()) {
			c.domain.Defer(func() {
				callbacks++
				for !c.closed.Load() {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(20 * time.Millisecond)
				f()
			})
		}
	})
	freeAll(c, take(t, c, 1000))
	same(t, "Close", c.Close(), nil)
	if n, used := c.slabs.Retired(), a.InUse(); n != 0 || used != 0 || callbacks < 2 {
		t.Errorf("after Close %d slabs are retired, %d bytes are in use; %d callbacks", n, used, callbacks)
	}
}
