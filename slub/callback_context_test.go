package slub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
)

// Barrier, Close, CloseContext, SetSheafCapacity and SetBarnLimits return rcu.ErrInCallback in
// every callback of a cache or of Buckets, with and without a deadline, and have no effect.
func TestWaitInCallback(t *testing.T) {
	for callback := range callbacks {
		for name, call := range map[string]func(*Cache, *Buckets) error{
			"Cache.Barrier":         func(c *Cache, _ *Buckets) error { return c.Barrier(context.Background()) },
			"Cache.Close":           func(c *Cache, _ *Buckets) error { return c.Close() },
			"Cache.CloseContext":    func(c *Cache, _ *Buckets) error { return c.CloseContext(context.Background()) },
			"Buckets.Barrier":       func(_ *Cache, b *Buckets) error { return b.Barrier(context.Background()) },
			"Buckets.Close":         func(_ *Cache, b *Buckets) error { return b.Close() },
			"Buckets.CloseContext":  func(_ *Cache, b *Buckets) error { return b.CloseContext(context.Background()) },
			"Cache.Barrier, timely": func(c *Cache, _ *Buckets) error { return c.Barrier(t.Context()) },
			"SetSheafCapacity":      func(c *Cache, _ *Buckets) error { return c.SetSheafCapacity(50) },
			"SetBarnLimits":         func(c *Cache, _ *Buckets) error { return c.SetBarnLimits(1, 1) },
		} {
			t.Run(fmt.Sprintf("%s in %s", name, callback), func(t *testing.T) {
				var c *Cache
				var got error
				b := openBuckets(t, nil, BucketsConfig{})
				l := &leaving{leave: func() { got = call(c, b) }}
				cfg := Config{Size: 512, Domain: new(rcu.Domain)}
				callbacks[callback](&cfg, l)
				c = open(t, nil, cfg)
				l.after.Store(1)
				p := take(t, c, 1)[0]
				apart(func() { c.Free(unsafe.Add(p, 8)) }) // a report; without a hook it panics
				c.FreeRCU(p)
				same(t, "Barrier", c.Barrier(context.Background()), nil)
				if l.left.Load() != 1 {
					t.Fatal("the callback has not been called")
				}
				same(t, name, got, rcu.ErrInCallback)
				p = take(t, c, 1)[0]
				c.Free(p)
			})
		}
	}
}

// Shrink does its work in every callback, and waits for no other flush, which may have called it.
func TestShrinkInCallback(t *testing.T) {
	for callback := range callbacks {
		t.Run(callback, func(t *testing.T) {
			var c *Cache
			b := openBuckets(t, nil, BucketsConfig{})
			l := &leaving{leave: func() {
				b.Shrink()
				c.Shrink()
			}}
			cfg := Config{Size: 512, Domain: new(rcu.Domain)}
			callbacks[callback](&cfg, l)
			c = open(t, nil, cfg)
			objs := take(t, c, 100)
			c.Shrink()
			c.FreeBulk(objs[:50])
			done := make(chan bool)
			go func() {
				defer close(done)
				if callback == "Report" {
					freeTwice(c, take(t, c, 1)) // Shrink finds that
					l.after.Store(1)
					c.Shrink()
					return
				}
				l.after.Store(1)
				ps := take(t, c, 100)
				freeRCUs(c, ps[:50])
				c.FreeBulk(ps[50:])
				barrier(c)
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for itself")
			}
			if l.left.Load() != 1 {
				t.Error("the callback has not been called")
			}
			c.FreeBulk(objs[50:])
			if left := c.Shrink(); left != 0 || c.Stats().InUse != 0 {
				t.Errorf("%d slabs are left, %d objects in use", left, c.Stats().InUse)
			}
		})
	}
}

// The deferred Close of a goroutine that unwinds, since a callback has panicked, is outside all
// callbacks.
func TestCloseWhileUnwinding(t *testing.T) {
	c := open(t, nil, Config{Size: 64, Hooks: hooks.Hooks{Alloc: func(hooks.Object) { panic("hook") }}})
	var err error
	apart(func() {
		defer func() { err = c.Close() }()
		_, _ = c.Alloc()
	})
	same(t, "Close", err, nil)
}

// Barrier and CloseContext keep to their context while another goroutine is in a slow hook,
// wherever that was called. Nothing is lost: the next Close finds all.
func TestContextBehindSlowCallback(t *testing.T) {
	for where, tt := range map[string]struct {
		cfg Config
		run func(c *Cache, objs []unsafe.Pointer)
	}{
		"sheaves, Barrier":         {Config{RCUDelay: time.Hour}, func(c *Cache, objs []unsafe.Pointer) { freeRCUs(c, objs); barrier(c) }},
		"sheaves, timer":           {Config{RCUDelay: time.Millisecond}, freeRCUs},
		"sheaves, expedited round": {Config{RCUDelay: time.Hour, RCUSoftLimit: 1}, freeRCUs},
		"queue, Barrier": {Config{RCUDelay: time.Hour, Flags: NoSheaves}, func(c *Cache, objs []unsafe.Pointer) {
			freeRCUs(c, objs)
			barrier(c)
		}},
		"queue, timer": {Config{RCUDelay: time.Millisecond, Flags: NoSheaves}, freeRCUs},
		"FreeDeferred": {Config{}, func(c *Cache, objs []unsafe.Pointer) {
			for _, p := range objs {
				c.FreeDeferred(p)
			}
			c.drain(drainAll)
		}},
	} {
		for name, call := range map[string]func(context.Context, *Cache) error{
			"Barrier": func(ctx context.Context, c *Cache) error { return c.Barrier(ctx) },
			"Close":   func(ctx context.Context, c *Cache) error { return c.CloseContext(ctx) },
		} {
			t.Run(fmt.Sprintf("%s, %s", where, name), func(t *testing.T) {
				begun, slow := make(chan bool), make(chan bool)
				var first atomic.Bool // only the first call is slow
				cfg := tt.cfg
				cfg.Size, cfg.SheafCapacity, cfg.Domain = 64, 20, new(rcu.Domain)
				cfg.Hooks.Free = func(hooks.Object) bool {
					if first.CompareAndSwap(false, true) {
						close(begun)
						<-slow
					}
					return false
				}
				c := open(t, nil, cfg)
				objs := take(t, c, 100)
				done := make(chan bool)
				go func() {
					defer close(done)
					tt.run(c, objs)
				}()
				<-begun
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				result := make(chan error)
				go func() { result <- call(ctx, c) }()
				select {
				case err := <-result:
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v, want an error of the context", err)
					}
				case <-time.After(20 * time.Second):
					t.Error("it waits for the callback")
				}
				close(slow)
				<-done
				same(t, "Close", c.Close(), nil)
			})
		}
	}
}

func freeRCUs(c *Cache, objs []unsafe.Pointer) {
	for _, p := range objs {
		c.FreeRCU(p)
	}
}
