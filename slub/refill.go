package slub

import "unsafe"

// source is a cache as its sheaves see it: the place where the two floors meet.
// It implements sheaves.Source.
type source struct{ c *Cache }

// Refill takes objects from slabs, of other nodes too when the own has none.
func (s source) Refill(node int, dst []unsafe.Pointer) int {
	if s.c.ended.Load() {
		return 0
	}
	n, _ := s.c.slabs.take(node, dst, false)
	if s.c.ended.Load() { // as in takeSlabs
		s.c.slabs.freeBulk(dst[:n])
		return 0
	}
	return n
}

// Flush returns objects to their slabs.
func (s source) Flush(objs []unsafe.Pointer) { s.c.slabs.freeBulk(objs) }

// Expire ends the life of objects whose grace period is over.
func (s source) Expire(objs []unsafe.Pointer) (kept int) {
	n := s.expire(objs)
	if n < len(objs) {
		s.c.slabs.count(keptExpired, len(objs)-n)
	}
	return n
}

// expire runs the destructor, then the free hooks, and moves the objects that are
// free now to the front.
func (s source) expire(objs []unsafe.Pointer) int {
	if s.c.config.RCUDtor != nil || sanitized {
		s.destroy(objs)
	}
	if !s.c.wrapped() {
		return len(objs)
	}
	return s.c.freedAll(objs)
}

// destroy runs the destructor. If one doesn't return, since it panics or ends its goroutine,
// the objects behind it wait for another grace period, and the others are freed here.
func (s source) destroy(objs []unsafe.Pointer) {
	dtor, begun, ended := s.c.config.RCUDtor, 0, false
	defer func() {
		if !ended {
			s.rescue(objs[:begun], objs[begun:])
		}
	}()
	for begun < len(objs) {
		p := objs[begun]
		begun++ // first: it is called once, whatever it does
		if sanitized {
			expireObject(p)
		}
		if dtor != nil {
			dtor(p)
		}
	}
	ended = true
}

// rescue frees what has been destroyed, and gives what has not to the queue.
func (s source) rescue(destroyed, rest []unsafe.Pointer) {
	c := s.c
	for _, p := range rest {
		if o := c.checked(p); o != 0 {
			c.rcuQueue.add(p, o.node(), c.layout.slot, false)
		}
	}
	n := len(destroyed)
	if c.wrapped() {
		n = c.freedAll(destroyed)
	}
	c.slabs.count(FreeSlowpath, n)
	c.slabs.freeBulk(destroyed[:n])
	c.rcuQueue.arm() // whoever was at it has not finished
}
