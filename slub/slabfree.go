package slub

import "unsafe"

// free returns one object to its slab.
func (l *layer) free(obj uintptr) { l.freeChain(l.slabOf(obj), obj, obj, 1) }

// freeChain returns n objects of one slab that are chained from head to tail.
func (l *layer) freeChain(s slabRef, head, tail uintptr, n int) {
	if l.addFree(s, head, tail, n) {
		l.twice(tail, s)
	}
}

// addFree does freeChain's work, and says whether tail was the slab's first free object
// already (kernel: __slab_free). The lock is taken only for a change of the list: the
// slab was full and gets listed, or becomes empty and may be given back.
func (l *layer) addFree(s slabRef, head, tail uintptr, n int) (again bool) {
	nd := &l.nodes[s.node]
	locked := false
	var st, after slabState
	for {
		st = s.load()
		// An object that would become its own successor was freed twice in a row. The
		// second time does not count; what hangs before it in the chain hangs right
		// already (kernel: set_freepointer's check under SLAB_FREELIST_HARDENED, a BUG).
		again = s.first(st) == tail
		back := uint32(n)
		if again {
			back--
		}
		after = slabState{free: s.starting(head), inuse: st.inuse - back}
		if (st.free == 0 || after.inuse == 0) && !locked {
			// The list can't be changed in the same step as the state; under the
			// lock nobody can see the two disagree.
			nd.mu.Lock()
			locked = true
			continue
		}
		if !again {
			l.setNext(tail, s.first(st))
		}
		if s.state.CompareAndSwap(st.pack(), after.pack()) {
			break
		}
		l.count(CmpxchgDoubleFail, 1)
	}
	if !locked {
		return again
	}
	if st.free != 0 && !s.listed {
		// Private to a refill, which will find what we put there or list the slab.
		nd.mu.Unlock()
		return again
	}
	if after.inuse == 0 && nd.partial.Load() >= l.keep.Load() {
		if s.listed {
			nd.remove(l, s)
			l.count(FreeRemovePartial, 1)
		}
		nd.mu.Unlock()
		l.count(FreeSlab, 1)
		l.discard(s)
		return again
	}
	if !s.listed {
		// The kernel lists it at the tail, so that it gathers more objects before
		// it is emptied again.
		nd.add(l, s, true)
		l.count(FreeAddPartial, 1)
	}
	nd.mu.Unlock()
	return again
}

// lookback is how many pointers freeBulk looks at for others of the same slab
// before it frees what it has (kernel: build_detached_freelist).
const lookback = 3

// freeBulk returns objects to their slabs, chained by slab, so that a slab's state
// changes once for many. It reorders objs.
func (l *layer) freeBulk(objs []unsafe.Pointer) {
	for len(objs) > 0 {
		last := len(objs) - 1
		tail := uintptr(objs[last])
		s := l.slabOf(tail)
		head, n := tail, 1
		misses := 0
		same := last // objs[same:] are in the chain
		for i := last - 1; i >= 0 && misses < lookback; i-- {
			obj := uintptr(objs[i])
			if obj-s.addr >= s.bytes() {
				misses++
				continue
			}
			same--
			objs[i], objs[same] = objs[same], objs[i]
			if obj == head {
				l.twice(obj, s)
				continue
			}
			l.setNext(obj, head)
			head = obj
			n++
		}
		l.freeChain(s, head, tail, n)
		objs = objs[:same]
	}
}

// freeInSlabs sums the free objects of a node's partial slabs.
func (l *layer) freeInSlabs(at int) (free uint64) {
	n := &l.nodes[at]
	n.mu.Lock()
	defer n.mu.Unlock()
	for link := n.head; link != 0; {
		s := l.linked(link)
		free += uint64(s.objects - s.load().inuse)
		link = s.next
	}
	return free
}
