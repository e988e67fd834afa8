package slab

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// TakeNoWait takes one object from a partial slab of the node with the given index, or of another
// node that has plenty. It returns nil where that would mean to wait or to make a slab. It tries
// each node's lock once, and causes no page fault: the links that it reads have been written, and
// an untouched object has none.
func (s *Slabs) TakeNoWait(node int) unsafe.Pointer {
	if obj := s.takeOne(&s.nodes[node]); obj != 0 {
		return mem.Ptr(obj)
	}
	for _, i := range s.fallbackNodes[node] {
		if n := &s.nodes[i]; n.partial.Load() > s.minPartial.Load() {
			if obj := s.takeOne(n); obj != 0 {
				n.countRemote(1)
				return mem.Ptr(obj)
			}
		}
	}
	return nil
}

// takeOne takes an object of a node's first slab, 0 for none (kernel:
// get_partial_node).
func (s *Slabs) takeOne(n *node) (obj uintptr) {
	if n.partial.Load() == 0 && n.retired.Load() == 0 || !n.mu.TryLock() {
		return 0
	}
	if n.head != 0 || s.unretire(n) {
		obj = s.pop(n, s.linked(n.head))
	}
	n.unlock()
	return obj
}

// pop takes the first object of a listed slab's chain, or an untouched object if there is no chain.
// The caller holds n.mu. So only frees can change the state meanwhile, and they only add objects:
// as long as the state is the same, its first object has the link that was read. If that link leads
// out of the slab, or the object can't be in the chain, pop returns 0 and leaves it to Take, which
// reports it.
func (s *Slabs) pop(n *node, r Ref) uintptr {
	for {
		st := r.load()
		after := slabState{untouched: st.untouched, inuse: st.inuse + 1}
		obj := r.first(st)
		if obj == 0 {
			var one [1]unsafe.Pointer
			s.takeUntouched(r, st, one[:])
			obj = uintptr(one[0])
			after.untouched--
		} else {
			next, ok := s.nextInSlab(obj, r)
			if !ok || s.isOutside(s.reachOf(r, st), r, st, obj) {
				return 0
			}
			after.free = r.starting(next)
		}
		if invariants.Enabled {
			invariants.Reach(invariants.NodeHeld)
		}
		if !r.state.CompareAndSwap(st.pack(), after.pack()) {
			s.count(s.counters.CmpxchgDoubleFail)
			continue
		}
		s.countFree(r.node, -1)
		if st.inuse == 0 {
			n.empty.Add(-1) // it stays listed, or remove finds an object out
		}
		if !after.hasFree() {
			// A free that finds no free object in the slab takes the lock before it tests listed.
			n.remove(s, r)
		}
		return obj
	}
}
