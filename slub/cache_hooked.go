package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// A describer makes hooks.Objects of a cache's objects. It is constant.
type describer struct {
	object hooks.Object // without Addr, and without Node where there are several
	arena  *arena.Arena // nil with one node
}

func (c *Cache) describer() describer {
	d := describer{object: hooks.Object{Cache: c.name, Size: c.config.Size}, arena: c.Arena()}
	if nodes := d.arena.Topology().Nodes(); len(nodes) == 1 {
		d.object.Node, d.arena = nodes[0], nil
	}
	return d
}

func (d *describer) node(p unsafe.Pointer) numa.Node {
	if d.arena == nil {
		return d.object.Node
	}
	return d.arena.NodeOf(uintptr(p))
}

// newHookedAlloc returns Alloc of a cache that is instrumented for its hooks alone: the sequence,
// then the hook. It is hookAlloc in one function, since the calls in between took longer than the
// sequence; and what it needs lies in the func value.
func (c *Cache) newHookedAlloc() percpu.PopFunc {
	pop, now, d := c.popRaw.Func(), &c.hooking.now, c.describer()
	return func() (p unsafe.Pointer, err error) {
		if p, err = pop(); err != nil {
			return nil, err
		}
		h := now.Load()
		if h.Alloc == nil {
			return p, nil
		}
		returned := false
		defer func() { // callback.Guard takes longer
			if !returned {
				c.takeBack([]unsafe.Pointer{p})
			}
		}()
		callback.Run(h.Alloc, hooks.Object{Cache: d.object.Cache, Addr: uintptr(p), Size: d.object.Size, Node: d.node(p)})
		returned = true
		runtime.KeepAlive(h)
		return p, nil
	}
}

// newHookedFree returns Free of a cache that is instrumented for its hooks, perhaps for InitOnFree
// too: the hook, then the sequence. What it doesn't know as an object in a slab of the usual order
// it leaves to the thorough checks.
func (c *Cache) newHookedFree() percpu.FreeFunc {
	now, d, id, scrubs := &c.hooking.now, c.describer(), c.id, c.config.Flags&InitOnFree != 0
	push := new(percpu.Free) // of an object that the hook has seen; its filter knows all objects
	push.Init(c.freeRCU.ForStacks(c.stacks, percpu.Main), func(p unsafe.Pointer) { c.freeChecked(p, push.Owner(p)) })
	return func(p unsafe.Pointer) {
		if o := push.Owner(p); o.ID() != id || o.HasFlags() {
			c.freeInGo(p)
			return
		}
		if h := now.Load(); h.Free != nil {
			returned := false
			defer func() {
				if !returned {
					c.takeBack([]unsafe.Pointer{p})
				}
			}()
			keep := callback.Ask(h.Free, hooks.Object{Cache: d.object.Cache, Addr: uintptr(p), Size: d.object.Size, Node: d.node(p)})
			returned = true
			runtime.KeepAlive(h)
			if keep {
				return
			}
		}
		if scrubs {
			c.scrub(p)
		}
		push.Func()(p)
	}
}
