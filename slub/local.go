package slub

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A Local is an array of free objects that belongs to one goroutine, and refills and flushes
// itself. Its Alloc and Free are a few instructions that the compiler inlines into the caller,
// without a lock, an atomic operation or a restartable sequence. It is for the few goroutines that
// allocate most: the workers of a server, a parser, a simulation. Everything else uses the Cache. A
// Local has Alloc, AllocZero and Free only: FreeRCU, bulk and node calls are the Cache's.
//
// The objects are the cache's. An object of a Local may be freed by any other means, on any
// goroutine, and those of other means by Local.Free. Free passes an object that the Local can't
// keep to Cache.Free, for example one of another NUMA node. Free makes all checks of Cache.Free.
// Caches with hooks, InitOnAlloc or InitOnFree, with NoSheaves, hardened ones, of the size classes
// above 32 KiB, and all caches in builds with a sanitizer need more than the Local does: their
// Locals hold nothing, and call Cache.Alloc and Free.
//
// One goroutine at a time may use a Local; to hand it on needs a happens-before edge, such as a
// channel. Race builds report other uses; builds with -tags invariants panic. Like Cache.Alloc and
// Free, it must not be used in constructors, destructors and hooks of the cache. A goroutine that
// has moved to another NUMA node calls Flush: the Local would go on with objects of the old one.
//
// # What it holds
//
// A Local holds at most as many free objects as NewLocal was told. Only its goroutine can take them
// from it. Shrink asks the cache's Locals to give back what they hold, and an allocation that finds
// no memory those of all caches that it has give back: each does with one of its next operations. A
// goroutine that will not use its Local for a while calls Flush, and Close at its end. If the
// program drops a Local without Close, a collection finds it and gives its objects back. Stats
// counts as Locals.Objects what Locals hold.
type Local struct {
	_       noCopy
	state   *localState
	cleanup runtime.Cleanup
}

// NewLocal makes a Local that holds up to the given number of free objects, 2 to MaxLocal. 0 is
// automatic: as many as two sheaves hold at that moment, up to MaxLocal. An empty Local takes half
// its capacity from the CPU's sheaves and the barn. A full one gives half back there, or, if they
// have no room, up to 32 objects to the slabs. It takes 5 KiB of Go memory, and no object before
// its first Alloc. Any goroutine. Errors: ErrConfig for
// another number; ErrClosed.
func (c *Cache) NewLocal(objects int) (*Local, error) {
	switch {
	case objects != 0 && (objects < 2 || objects > MaxLocal):
		return nil, c.argumentError("NewLocal", "%d objects, want 2 to %d, or 0 for automatic", objects, MaxLocal)
	case c.closed.Load():
		return nil, c.failClosed()
	}
	s := &localState{cache: c, filter: c.free.Filter, own: owner.Of(c.id, c.localNodeNow())}
	if invariants.Enabled && c.marks != nil {
		s.filter = c.marks.push.Filter
	}
	if c.sheaves == nil || c.alwaysInstrumented() && !c.marksInLocals() {
		s.mode = localOrdinary
		s.refuse()
	} else if s.capacity = uint64(objects); objects == 0 {
		s.capacity = uint64(min(2*c.sheaves.Capacity(), MaxLocal))
	}
	c.locals.add(s)
	if s.mode == localArray {
		s.draw()
		s.admit()
	}
	l := &Local{state: s}
	l.cleanup = runtime.AddCleanup(l, (*localState).end, s)
	return l, nil
}

// MaxLocal is the largest number of objects that a Local holds, 511.
const MaxLocal = maxLocal

// Alloc returns an object of the cache. Content and errors are as for Cache.Alloc; after Close the
// error wraps ErrClosed. The common case is inlined. When the Local is empty, Alloc takes half an
// array from the CPU's sheaves and the barn, which may run RCUDtor; if these have none, it is
// Cache.Alloc.
//
// The functions that it is made of are arguments of alloc, since the compiler allows a call of an
// argument in a function that it inlines, and then inlines what is called. TestLocalInlined fails
// if it no longer does.
func (l *Local) Alloc() (unsafe.Pointer, error) {
	return l.alloc((*localState).pop, (*Local).allocSlow)
}

func (l *Local) alloc(pop func(*localState) (unsafe.Pointer, bool),
	slow func(*Local) (unsafe.Pointer, error)) (p unsafe.Pointer, err error) {
	p, ok := pop(l.state)
	if ok {
		runtime.KeepAlive(l) // until the object is off the state, which the cleanup would return
		return
	}
	return slow(l)
}

// pop takes an object, if there is one, the fast path is open, and it is not the turn of an
// allocation to be sampled: one comparison tells; see localState.
func (s *localState) pop() (p unsafe.Pointer, ok bool) {
	if invariants.Enabled {
		defer s.use()()
	}
	h := s.head
	if uint64(uint32(h)&(localOpen|localMask)) <= s.low {
		return nil, false
	}
	s.head = h + localOne - 1
	if invariants.Enabled {
		p, ok = s.cache.look(mem.Ptr(s.objs[(h-1)&localMask]))
		return p, ok && s.cache.prepare(p, 0)
	}
	return *(*unsafe.Pointer)(unsafe.Pointer(&s.objs[(h-1)&localMask])), true
}

// Free frees an object of the cache, whichever way it was allocated, with all checks of Cache.Free.
// nil is ignored. The caller must not use the object afterwards. The common case is inlined.
func (l *Local) Free(p unsafe.Pointer) { l.free(p, (*localState).push, (*Local).freeSlow) }

func (l *Local) free(p unsafe.Pointer, push func(*localState, unsafe.Pointer) bool, slow func(*Local, unsafe.Pointer)) {
	if push(l.state, p) {
		runtime.KeepAlive(l) // as in alloc
	} else {
		slow(l, p)
	}
}

// push keeps an object of the cache if there is room and the fast path is open.
func (s *localState) push(p unsafe.Pointer) bool {
	if invariants.Enabled {
		defer s.use()()
	}
	n := s.head & localMask
	if n < s.high && s.filter.Owns(p, s.own) {
		if invariants.Enabled {
			if !s.claim(p) {
				return false
			}
		}
		s.objs[n] = uintptr(p)
		s.head++
		return true
	}
	return false
}
