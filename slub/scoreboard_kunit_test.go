package slub

import (
	"errors"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// kunitPrograms are the cases of the kernel's slub_kunit in caches as the environment makes them.
// Those of cache_debug_kunit_test.go have the kernel's flags and counts.
func kunitPrograms() []program {
	return []program{
		{name: "clobber_zone", run: func(g *board) outcome {
			c := g.cache(Config{Name: "zone", Size: 64})
			p := g.oneOf(c)
			*byteAt(p, 64) ^= theirs
			return g.validated(c, p)
		}},
		{name: "next_pointer", run: func(g *board) outcome {
			c := g.cache(Config{Name: "next", Size: 64})
			ps := take(g.t, c, 3)
			freeAll(c, ps[:2])
			c.Shrink()
			*byteAt(ps[1], int(c.layout.fp)+4) ^= theirs
			return g.validated(c, ps[2])
		}},
		{name: "first_word", run: func(g *board) outcome { return g.writeFreed(0) }},
		{name: "clobber_50th_byte", run: func(g *board) outcome { return g.writeFreed(50) }},
		{name: "clobber_redzone_free", run: func(g *board) outcome { return g.writeFreed(64) }},
		{name: "kmalloc_redzone_access", run: func(g *board) outcome {
			p := g.one(18)
			*byteAt(p, 18) = theirs
			*byteAt(p, 19) = theirs
			return g.validated(g.b.cacheOf(p), p)
		}},
		{name: "kfree_rcu", run: func(g *board) outcome {
			c := g.cache(Config{Name: "rcu", Size: 64})
			c.FreeRCU(take(g.t, c, 1)[0])
			return fine
		}},
		{name: "kfree_rcu_wq_destroy", run: func(g *board) outcome {
			for range 3 {
				c, err := New(g.a, Config{Name: "rcu", Size: 64})
				same(g.t, "New", err, nil)
				c.FreeRCU(take(g.t, c, 1)[0])
				closed := make(chan error)
				go func() {
					runtime.Gosched()
					closed <- c.Close()
				}()
				if <-closed != nil {
					return missed
				}
			}
			return fine
		}},
		{name: "leak_destroy", run: func(g *board) outcome {
			c, err := New(g.a, Config{Name: "leak", Size: 64})
			same(g.t, "New", err, nil)
			take(g.t, c, 1)
			if errors.Is(c.Close(), ErrBusy) {
				return asError
			}
			return missed
		}},
		{name: "krealloc_redzone_zeroing", run: func(g *board) outcome {
			p, n, ok := g.malloc(48), 48, true
			set(p, n, theirs)
			for _, next := range []int{40, 56, 112} {
				q, err := g.b.ReallocZero(p, n, next)
				same(g.t, "ReallocZero", err, nil)
				ok = ok && unlike(q, 40, theirs) < 0 && (next < n || unlike(unsafe.Add(q, 40), next-40, 0) < 0)
				p, n = q, next
			}
			g.b.Free(p)
			return fineIf(ok)
		}},
		{name: "kmalloc_nolock_and_friends_perf", run: func(g *board) outcome { return g.noLock(false) }},
		{name: "kmalloc_nolock_and_friends_kprobe", run: func(g *board) outcome { return g.noLock(true) }},
	}
}

// validated validates a cache of which an object is in use, and frees it.
func (g *board) validated(c *Cache, held unsafe.Pointer) outcome {
	err := c.Validate()
	c.Free(held)
	return g.closed(err, missed)
}

// writeFreed writes to an object that is free, off bytes from its start. Its slab has another one
// in use.
func (g *board) writeFreed(off int) outcome {
	c := g.cache(Config{Name: "freed", Size: 64})
	p := g.oneOf(c)
	held := take(g.t, c, 1)[0]
	if uintptr(held) == uintptr(p)+64 { // what lies behind p is free, too
		other := take(g.t, c, 1)[0]
		c.Free(held)
		held = other
	}
	c.Free(p)
	*byteAt(p, off) ^= theirs
	return g.validated(c, held)
}

// noLock allocates and frees without waiting, in the hooks of other operations or beside them. None
// may find anything wrong.
func (g *board) noLock(inHooks bool) outcome {
	var c *Cache
	inside := false
	work := func() {
		if p, err := c.AllocNoWait(); err == nil {
			c.FreeDeferred(p)
		}
	}
	cfg := Config{Name: "nolock", Size: 64}
	if inHooks {
		cfg.Hooks = hooks.Hooks{Free: func(hooks.Object) bool {
			if !inside {
				inside = true
				work()
				inside = false
			}
			return false
		}}
	}
	c = g.cache(cfg)
	stopped := make(chan bool)
	stop := make(chan bool)
	go func() {
		defer close(stopped)
		for !inHooks {
			select {
			case <-stop:
				return
			default:
				work()
			}
		}
	}()
	for range 10 {
		freeAll(c, take(g.t, c, 100))
	}
	close(stop)
	<-stopped
	return fine
}
