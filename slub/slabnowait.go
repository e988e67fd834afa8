package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// takeNoWait takes one object from a partial slab, of the node with the given index or
// of another one that has plenty, or returns nil. It asks for each node's lock once,
// and touches no page that wasn't before: a chain has been written where it is read.
func (l *layer) takeNoWait(at int) unsafe.Pointer {
	if obj := l.takeOne(&l.nodes[at]); obj != 0 {
		return mem.Ptr(obj)
	}
	for _, i := range l.near[at] {
		if n := &l.nodes[i]; n.partial.Load() > l.keep.Load() {
			if obj := l.takeOne(n); obj != 0 {
				return mem.Ptr(obj)
			}
		}
	}
	return nil
}

// takeOne takes the first object of a node's first slab, 0 for none (kernel:
// get_partial_node).
func (l *layer) takeOne(n *node) (obj uintptr) {
	if n.partial.Load() == 0 || !n.mu.TryLock() {
		return 0
	}
	if n.head != 0 {
		obj = l.pop(n, l.linked(n.head))
	}
	n.mu.Unlock()
	return obj
}

// pop takes the first object of a listed slab's chain. The caller holds n.mu, so that
// frees alone can change the state meanwhile, and they only add: an object that is
// first in an unchanged state has the link that was read. Should that lead out of the
// slab, the object stays for take, which can tell.
func (l *layer) pop(n *node, s slabRef) uintptr {
	for {
		st := s.load()
		obj := s.first(st)
		next, ok := l.next(obj, s)
		if !ok {
			return 0
		}
		if invariants.Enabled {
			invariants.Reach(invariants.NodeHeld)
		}
		after := slabState{free: s.starting(next), inuse: st.inuse + 1}
		if !s.state.CompareAndSwap(st.pack(), after.pack()) {
			l.count(CmpxchgDoubleFail, 1)
			continue
		}
		if next == 0 {
			// A free that finds no chain waits for the lock before it looks at the list.
			n.remove(l, s)
		}
		return obj
	}
}

// nextDeferred reads the link of an object on the list of deferred frees, which leads
// to another object of the cache, on any slab, or is 0; else ok is false.
//
//go:norace
func (l *layer) nextDeferred(obj uintptr) (next uintptr, ok bool) {
	at := obj + l.fp
	next = uintptr(l.encode(at, uintptr(*mem.At[uint64](at)))) // encode is its own inverse
	return next, next == 0 || l.isObject(next)
}

// isObject reports whether addr is where an object of one of the cache's slabs starts.
func (l *layer) isObject(addr uintptr) bool {
	if page, ok := l.arena.PageOf(addr); !ok || !l.owns(page) {
		return false
	}
	s := l.slabOf(addr)
	off := addr - s.addr
	return off%l.size == 0 && off/l.size < uintptr(s.objects) // behind them is waste
}
