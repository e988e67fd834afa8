package slub

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/slab"
)

// allocSlow is Alloc when the Local has no object or its fast path is closed.
func (l *Local) allocSlow() (unsafe.Pointer, error) {
	defer runtime.KeepAlive(l)
	s := l.state
	defer s.use()()
	c := s.cache
	switch {
	case s.closed:
		return nil, fmt.Errorf("slub: cache %q: Local: %w", c.name, c.failClosed())
	case s.mode == localOrdinary:
	case s.refused():
		// While memory is short, or there are hooks, a Local takes what it needs now, and no more.
		s.giveAll()
	default:
		if err := c.injected(1); err != nil {
			return nil, err
		}
		p := s.allocDue()
		if p == nil {
			p = s.refill()
		}
		switch {
		case p == nil:
		case !invariants.Enabled:
			return p, nil
		default:
			if p, ok := c.look(p); ok && c.prepare(p, 0) {
				return p, nil
			}
		}
	}
	return c.Alloc()
}

// marksInLocals reports whether Locals of the cache hold objects though these have marks, which is
// so in builds with invariants where nothing else has to be done for an object.
func (c *Cache) marksInLocals() bool {
	return invariants.Enabled && !c.alwaysWatched() && !c.single && !c.marks.hardened && !c.marks.hasExts()
}

// claim claims an object that the Local is about to keep, in builds with invariants. It reports
// nothing: what it refuses goes to Cache.Free, which does.
func (s *localState) claim(p unsafe.Pointer) bool { return s.cache.slabs.Claim(p, s.own, slab.Free) }

// refill takes half as many objects as there is room for from the CPU's sheaves and the barn, and
// returns the last of them. It returns nil if there are none; Cache.Alloc then fills a sheaf from
// the slabs.
func (s *localState) refill() unsafe.Pointer {
	if invariants.Enabled && s.len() > 0 { // pop has refused the one above
		return s.take()
	}
	c := s.cache
	c.drain(drainMost)
	own := owner.Of(c.id, c.localNodeNow())
	n := c.sheaves.Take(s.slots()[:s.capacity/2])
	if n == 0 {
		return nil
	}
	s.own = own
	s.move(n) // the Local was empty: refused tells of every other reason to come here
	return s.take()
}

// take takes the last of the objects, of which there is one.
func (s *localState) take() unsafe.Pointer {
	head := s.head + localOne - 1
	atomic.StoreUint64(&s.head, head)
	return s.slots()[head&localMask]
}

// freeSlow is Free of what push does not take.
func (l *Local) freeSlow(p unsafe.Pointer) {
	defer runtime.KeepAlive(l)
	s := l.state
	defer s.use()()
	c := s.cache
	kept := false
	if s.mode == localArray && !s.closed {
		// What the Local gives back may be reported.
		callback.Guard(func() {
			if s.refused() {
				s.giveAll()
			} else {
				kept = s.keep(p)
			}
		}, func() { c.FreeDeferred(p) })
	}
	if !kept {
		c.Free(p)
	}
}

// keep keeps an object after it has made room, if the object is of the node that the Local or the
// goroutine is on.
func (s *localState) keep(p unsafe.Pointer) bool {
	c := s.cache
	if here := owner.Of(c.id, c.localNode()); here != s.own && s.filter.Owns(p, here) {
		s.giveAll() // the goroutine has moved, and its Local follows
		s.own = here
	}
	if !s.filter.Owns(p, s.own) {
		return false
	}
	if s.len() == int(s.capacity) {
		s.makeRoom()
	}
	if invariants.Enabled && !s.claim(p) {
		return false
	}
	s.slots()[s.len()] = p
	atomic.StoreUint64(&s.head, s.head+1)
	return true
}

// slots views the whole array.
func (s *localState) slots() []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(&s.objs)), s.capacity)
}

// makeRoom gives half of the objects back in portions, as far as the CPU's sheaves and the barn
// have room for them. Otherwise it gives one portion, which bounds what a Free costs.
func (s *localState) makeRoom() {
	left := int(s.capacity / 2)
	for left > 0 {
		n := min(left, sheaves.MaxPortion)
		left -= n
		if !s.give(n) {
			return
		}
	}
}

// give gives the youngest n objects back, and reports whether the CPU's sheaves and the barn had
// room for them. These are the most likely ones to be in the processor's cache, and other
// goroutines on the CPU get them next.
func (s *localState) give(n int) (cheap bool) {
	objs := s.slots()[s.len()-n : s.len()]
	s.move(-n) // first: it is done once, whatever a report does
	return s.cache.returnLocal(objs)
}

// giveAll gives all objects back and opens the fast path. What closes it meanwhile is honored by
// the next operation.
func (s *localState) giveAll() {
	if s.mode == localArray && !s.closed {
		s.admit()
	}
	s.give(s.len())
}

// returnLocal takes back what a Local held: into the CPU's sheaves, or those for objects of other
// nodes, and the rest into its slabs. It reports whether they all went into sheaves that had room.
func (c *Cache) returnLocal(objs []unsafe.Pointer) (cheap bool) {
	if len(objs) == 0 {
		return true
	}
	local := owner.Of(c.id, c.localNode())
	front := c.free.Prefix(objs, local)
	if front < len(objs) {
		objs, front = c.partition(objs, front, local, fromLocal)
	}
	remote := c.sheaves.FreeBulkRemote(objs[front:], false)
	var put int
	callback.Guard(
		func() { put, cheap = c.sheaves.Put(objs[:front], local.Node()) },
		func() { c.flushLocal(remote) })
	rest := objs[put : front+len(remote)]
	c.flushLocal(rest)
	return cheap && len(rest) == 0
}

// flushLocal returns to their slabs what a Local held and no sheaf has taken.
func (c *Cache) flushLocal(objs []unsafe.Pointer) {
	if len(objs) > 0 {
		c.count(SheafFlush, len(objs))
		c.slabs.FreeBulk(objs)
	}
}

// AllocZero is Alloc with the object's Size bytes zeroed, including what a constructor put there.
func (l *Local) AllocZero() (unsafe.Pointer, error) {
	c := l.state.cache
	if (l.state.mode == localOrdinary || c.hooked()) && !l.state.closed {
		defer l.state.use()()
		return c.AllocZero()
	}
	p, err := l.Alloc()
	if err == nil {
		mem.Zero(uintptr(p), uintptr(c.config.Size))
	}
	return p, err
}

// Len returns how many free objects the Local holds.
func (l *Local) Len() int { return l.state.len() }

// Flush gives the objects that the Local holds back to the cache. It costs a few nanoseconds for
// each.
func (l *Local) Flush() {
	defer runtime.KeepAlive(l)
	defer l.state.use()()
	l.state.giveAll()
}

// Close gives back what the Local holds, and ends it: Alloc returns an error from then on, and Free
// calls Cache.Free. A second Close does nothing. The Cache's Close comes after it; otherwise its
// error says how many objects Locals hold. After such an error, too, Close gives them back, and so
// does the Local's next operation. Close of a nil Local does nothing.
func (l *Local) Close() {
	if l == nil {
		return
	}
	defer runtime.KeepAlive(l)
	s := l.state
	defer s.use()()
	if !s.closed {
		l.cleanup.Stop()
		s.end()
	}
}

// end ends a Local: in Close, or when the collector has found it lost.
func (s *localState) end() {
	s.closed = true
	s.refuse()
	defer s.cache.locals.remove(s) // also if a report panics
	s.give(s.len())
}
