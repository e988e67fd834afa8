package slab

import "unsafe"

// Free returns one object to its slab.
func (s *Slabs) Free(p unsafe.Pointer) {
	obj := uintptr(p)
	r := s.slabOf(obj)
	if !s.owns(s.pageOf(p)) { // otherwise r has the page
		s.freeGone(r.addr, obj, func() {})
		return
	}
	if found := s.addFree(r, obj, obj, 1); found.any() {
		s.report(found)
	}
}

// addFree returns n objects of one slab to it, which are chained from head to tail. It returns what
// the caller is to report: that tail was freed twice, as it was the slab's first free object
// already; that fewer objects than n are out; that the slab is empty, but not whole.
// The node's lock is taken only for a change of the list: the slab had no free object and gets
// listed, or it becomes empty and may go back to the arena. (Kernel: __slab_free.)
func (s *Slabs) addFree(r Ref, head, tail uintptr, n int) (found finding) {
	if r.alone {
		return s.freeAlone(r, tail)
	}
	nd := &s.nodes[r.node]
	locked := false
	var st, after slabState
	for {
		st = r.load()
		// An object that would become its own successor was freed twice in a row. The second
		// free does not count. The objects before it in the chain are linked correctly already
		// (kernel: set_freepointer's check under SLAB_FREELIST_HARDENED, a BUG).
		again := r.first(st) == tail
		back := uint32(n)
		found = finding{}
		if again {
			back--
			found = finding{obj: tail, twice: true}
		}
		after = slabState{free: r.starting(head), inuse: st.inuse - back}
		if (st.free == 0 || st.inuse <= back) && !locked {
			// State and list can't change in the same step. Under the lock no other goroutine
			// sees the two disagree.
			nd.mu.Lock()
			locked = true
			continue
		}
		if st.inuse < back {
			return s.refuseFree(nd, r, head)
		}
		if st.free == 0 && r.quarantined {
			nd.unlock()
			return found
		}
		if !again {
			s.SetNext(tail, r.first(st))
		}
		if r.state.CompareAndSwap(st.pack(), after.pack()) {
			break
		}
		s.count(s.counters.CmpxchgDoubleFail)
	}
	s.countFree(r.node, int(st.inuse-after.inuse))
	if !locked {
		return found
	}
	if st.free != 0 && !r.listed {
		// The slab is private to a refill, which takes what we put there, or lists the slab.
		nd.unlock()
		return found
	}
	if after.inuse == 0 && st.inuse > 0 && r.listed {
		nd.empty.Add(1)
	}
	if after.inuse == 0 && nd.partial.Load() >= s.minPartial.Load() {
		if r.listed {
			nd.remove(s, r)
			s.count(s.counters.FreeRemovePartial)
		}
		nd.unlock()
		if s.discard(r) {
			s.count(s.counters.FreeSlab)
		} else {
			found.damaged = true
		}
		return found
	}
	if !r.listed {
		// At the tail, as in the kernel: there it gathers free objects before it is used again.
		nd.add(s, r, true)
		s.count(s.counters.FreeAddPartial)
	}
	nd.unlock()
	return found
}

// maxMisses is how many objects of other slabs FreeBulk skips in search of more of the same slab
// before it frees what it has (kernel: build_detached_freelist).
const maxMisses = 3

// FreeBulk returns objects to their slabs. It chains objects of one slab, so that the slab's state
// changes once for many of them. It reorders objs. All of them are free even if a report doesn't
// return.
func (s *Slabs) FreeBulk(objs []unsafe.Pointer) {
	for len(objs) > 0 {
		last := len(objs) - 1
		tail := uintptr(objs[last])
		r := s.slabOf(tail)
		if !s.owns(s.pageOf(objs[last])) {
			objs = objs[:last]
			s.freeGone(r.addr, tail, func() { s.FreeBulk(objs) })
			continue
		}
		head, n := tail, 1
		misses := 0
		same := last // objs[same:] are in the chain
		for i := last - 1; i >= 0 && misses < maxMisses; i-- {
			obj := uintptr(objs[i])
			if obj-r.addr >= r.Bytes() {
				misses++
				continue
			}
			same--
			objs[i], objs[same] = objs[same], objs[i]
			if obj == head {
				s.reportFreeing(finding{obj: obj, twice: true}, r, head, tail, n, objs[:same])
				continue
			}
			s.SetNext(obj, head)
			head = obj
			n++
		}
		objs = objs[:same]
		if found := s.addFree(r, head, tail, n); found.any() {
			s.reportFreeing(found, r, 0, 0, 0, objs)
		}
	}
}
