package slub

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
)

// SetHooks changes the hooks of a cache while it is in use: h takes the place of Config.Hooks, and
// of what an earlier SetHooks has set. The zero Hooks are none, with which the cache is as fast as
// one that never had any. (Kernel: a static key in front of a tracepoint.)
//
// An operation that begins after SetHooks has returned calls the new hooks alone. One that runs at
// the same time calls the old ones or the new ones, or both for different objects. It may go on
// with the old ones after SetHooks has returned; WaitHooks waits for that. AllocZero at that time
// may call the Alloc hook before it zeroes the object.
//
// Each hook is called for what happens from then on. So a Free hook sees objects that no Alloc hook
// has seen, and the other way round. A Prefilled that was lent before takes objects back until its
// next Refill or Return, which show the objects that it has then. With InitOnFree, a Free that runs
// at the same time as SetHooks may show an object to the new Free hook that is cleared already.
//
// Any goroutine. It costs some microseconds, and no operation waits for it. The cache shares its
// slabs with no other from then on (see Merge).
//
// Errors, with nothing changed: ErrConfig if the cache shares its slabs, since its objects can't be
// told from those of the other caches, or if it is a size class of Buckets: call Buckets.SetHooks;
// rcu.ErrInCallback in a callback; ErrClosed once Close has been called, also if it has failed:
// frees of objects that are still in use call the hooks that the cache has then.
func (c *Cache) SetHooks(h hooks.Hooks) error {
	if callback.Inside() {
		return c.inCallback()
	}
	if c.ofBuckets {
		return c.argumentError("SetHooks", "the cache is a size class of Buckets, whose SetHooks is for all sizes")
	}
	s := &c.hooking
	s.mu.Lock()
	defer s.mu.Unlock()
	set := newHookSet(h)
	switch {
	case c.closed.Load():
		return ErrClosed
	case set == noHooks && s.now.Load() == noHooks:
		return nil
	}
	if others := caches.setApart(c); others != "" {
		return c.argumentError("SetHooks", "the cache shares its slabs with %s (Merge)", others)
	}
	s.retireLocked()
	c.setHooks(set)
	return nil
}

// Hooks returns the hooks in force: those of the config, or of the last SetHooks. Any goroutine.
func (c *Cache) Hooks() hooks.Hooks { return c.hooking.now.Load().Hooks }

// WaitHooks waits until no operation can call a hook that an earlier SetHooks has replaced. The
// program may then give up what those hooks need. WaitHooks waits for replaced hooks that run, and
// for operations that are about to call one. It runs the garbage collector, once or several times,
// to find these operations: each run costs what runtime.GC costs. If no hooks were replaced it
// returns at once. Hooks must synchronize what they write, as several goroutines call them at once:
// WaitHooks is no synchronization in the sense of Go's memory model. Any goroutine. Errors:
// ctx.Err(); rcu.ErrInCallback in a callback. (Kernel: tracepoint_synchronize_unregister.)
func (c *Cache) WaitHooks(ctx context.Context) error {
	if b := c.Buckets(); b != nil {
		return b.WaitHooks(ctx)
	}
	if callback.Inside() {
		return c.inCallback()
	}
	if err := c.hooking.wait(ctx); err != nil {
		return fmt.Errorf("slub: cache %q: hooks that were replaced may still be called: %w", c.name, err)
	}
	return nil
}

// setHooks makes h the set in force, and exchanges the operations if that takes others.
func (c *Cache) setHooks(h *hookSet) {
	if was := c.hooking.replace(h); (was.Alloc != nil) != (h.Alloc != nil) || (was.Free != nil) != (h.Free != nil) {
		c.exchange(h)
	}
}

// exchange makes Alloc and Free of a cache in use those of one with hooks, or without. The ones of
// a cache that does more for each object than to call hooks ask for the set in force already.
//
// The sequences for nodes know no hooks: the cache begins again without. A makeNodeOps that has
// looked for hooks before they were set finds another word than it expects, and gives up.
//
// Locals are asked to give back what they hold, as by Shrink. They keep out of the fast path as
// long as there are hooks; see localState.admit, with which the store of the set pairs.
func (c *Cache) exchange(h *hookSet) {
	if c.onlyMarks() || !c.alwaysInstrumented() || c.onlyClears() {
		ops := new(struct {
			pop  percpu.Pop
			free percpu.Free
		})
		c.makeOps(&ops.pop, &ops.free, h)
		c.pop.Replace(&ops.pop)
		c.free.Replace(&ops.free)
	}
	if !c.alwaysInstrumented() {
		atomic.StorePointer(&c.nodeOps, unsafe.Pointer(c.noNodeOps()))
	}
	if h.each {
		c.locals.ask(c)
	}
}

// setApart keeps other caches from sharing c's slabs. If some do, or have done so, it returns their
// names as a text: the hooks of c would get their objects.
func (r *registry) setApart(c *Cache) (others string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Clone(c.closedNames)
	for _, m := range c.members {
		if m != c {
			names = append(names, m.name)
		}
	}
	if len(names) > 0 {
		return fmt.Sprintf("%q", names)
	}
	r.notJoinableLocked(c)
	return ""
}
