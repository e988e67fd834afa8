package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/slub/internal/failslab"
)

// A source is a cache as its sheaves see it: it joins them to the slabs. It implements
// sheaves.Source; the calls come on any goroutine, under no lock of sheaves that an operation waits
// for.
type source struct{ c *Cache }

// Refill takes objects from slabs of the node or, unless strict, from other nodes as Slabs.Take
// says.
func (s source) Refill(node int, dst []unsafe.Pointer, strict bool) int {
	var n int
	var err error
	s.c.delay(failslab.Refill)
	if !s.c.groupClosed.whileOpen(func() { n, err = s.c.slabs.Take(node, dst, strict) }) {
		s.c.slabs.FreeBulk(dst[:n])
		return 0
	}
	if err != nil {
		s.c.noteRefillError(err)
	}
	if s.c.clearsLinks() {
		s.c.clearLinks(dst[:n])
	}
	if m := s.c.marks; m != nil && m.hardened {
		shuffle(dst[:n])
	}
	return n
}

// Flush returns objects to their slabs.
func (s source) Flush(objs []unsafe.Pointer) {
	s.c.delay(failslab.Flush)
	s.c.flushChecked(objs)
}

// Reclaim ends the lives of objects whose grace period is over; see Cache.endLives.
func (s source) Reclaim(objs []unsafe.Pointer) (free int) { return s.c.endLives(objs) }

// NodeOf returns the index of the node that an object lies on.
func (s source) NodeOf(obj unsafe.Pointer) int { return s.c.slabs.Arena().NodeIndex(uintptr(obj)) }

// endLives runs the destructor, then the free hooks, and moves the objects that are free now to the
// front. If it doesn't return, all of objs have a place nevertheless.
func (c *Cache) endLives(objs []unsafe.Pointer) (free int) {
	c.delay(failslab.Reclaim)
	if n, wrong := c.objects(objs); n < len(objs) {
		c.count(kept, len(wrong))
		objs = objs[:n]
		c.reportAll(wrong, func() { c.rescue(nil, objs) })
	}
	if c.config.RCUDtor != nil || sanitized {
		c.destroy(objs)
	}
	if !c.instrumented() {
		return len(objs)
	}
	free = c.onFreeAll(objs, c.scrub, func(seen, rest []unsafe.Pointer) {
		c.count(kept, len(objs)-len(seen)-len(rest))
		c.finishFree(seen, rest)
	})
	if free < len(objs) {
		c.count(kept, len(objs)-free)
	}
	return free
}

// destroy runs the destructor. If one doesn't return, since it panics or ends its goroutine, the
// objects behind it wait for another grace period, and the others are freed.
func (c *Cache) destroy(objs []unsafe.Pointer) {
	dtor, begun := c.config.RCUDtor, 0
	callback.Guard(func() {
		for begun < len(objs) {
			p := objs[begun]
			begun++ // first: it is called once, whatever it does
			if sanitized {
				expireObject(p)
			}
			if dtor != nil {
				callback.Run(dtor, p)
			}
		}
	}, func() { c.rescue(objs[:begun], objs[begun:]) })
}

// rescue frees what has been destroyed, after its hooks if there are any, and gives what has not to
// the queue. It is called while the goroutine unwinds.
func (c *Cache) rescue(destroyed, rest []unsafe.Pointer) {
	defer c.freeQueue.Arm() // its goroutine leaves what is ready
	defer func() {
		if c.hooking.now.Load().Free != nil {
			c.finishFree(nil, destroyed)
			return
		}
		for _, p := range destroyed {
			c.scrub(p)
		}
		c.finishFree(destroyed, nil)
	}()
	callback.Each(rest, func(p unsafe.Pointer) {
		if o := c.ownerOrReport(p); o != 0 {
			c.freeQueue.PutBack(p, o.Node(), int64(c.layout.slot))
		}
	})
}
