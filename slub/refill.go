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
	if dtor := s.c.config.RCUDtor; dtor != nil || sanitized {
		for _, p := range objs {
			if sanitized {
				expireObject(p)
			}
			if dtor != nil {
				dtor(p)
			}
		}
	}
	if !s.c.wrapped() {
		return len(objs)
	}
	return s.c.freedAll(objs)
}
