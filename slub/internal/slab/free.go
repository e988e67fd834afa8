package slab

import "unsafe"

// Free returns one object to its slab.
func (s *Slabs) Free(p unsafe.Pointer) {
	obj := uintptr(p)
	r := s.slabOf(obj)
	if !s.owns(s.pageOf(p)) { // otherwise r has the page
		s.freeGone(s.Addr(r), obj, func() {})
		return
	}
	node := r.node
	found, freed := s.addFree(r, obj, obj, 1)
	s.countFree(node, freed)
	if found.any() {
		s.report(found)
	}
}

// addFree returns n objects of one slab to it, which are chained from head to tail. The caller
// counts the objects that are free now, of which there are freed. It reports what was found: that
// tail was freed twice, as it was the slab's first free object already; that fewer objects than n
// are out; that the slab is empty, but not whole.
//
// The node's lock is taken only for a change of the list: the slab had no free object and gets
// listed, or it becomes empty and may go back to the arena. (Kernel: __slab_free.)
func (s *Slabs) addFree(r Ref, head, tail uintptr, n int) (found finding, freed int) {
	if r.kind.has(alone) {
		return s.freeAlone(r, tail), 0
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
		after = slabState{free: r.starting(head), untouched: st.untouched, inuse: st.inuse - back}
		if (!st.hasFree() || st.inuse <= back) && !locked {
			// State and list can't change in the same step. Under the lock no other goroutine
			// sees the two disagree.
			nd.mu.Lock()
			locked = true
			continue
		}
		if st.inuse < back {
			return s.refuseFree(nd, r, head), 0
		}
		if !st.hasFree() && r.isolated {
			nd.unlock()
			return found, 0
		}
		if !again {
			s.SetNext(tail, r.first(st))
		}
		if r.state.CompareAndSwap(st.pack(), after.pack()) {
			break
		}
		s.count(s.counters.CmpxchgDoubleFail)
	}
	freed = int(st.inuse - after.inuse)
	if !locked {
		return found, freed
	}
	if st.hasFree() && !r.listed {
		// The slab is private to a refill, which takes what we put there, or lists the slab.
		nd.unlock()
		return found, freed
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
		gone, clean := s.discard(r)
		if gone {
			s.count(s.counters.FreeSlab)
		}
		found.damaged = !clean
		return found, freed
	}
	if !r.listed {
		// At the tail, as in the kernel: there it gathers free objects before it is used again.
		nd.add(s, r, true)
		s.count(s.counters.FreeAddPartial)
	}
	nd.unlock()
	return found, freed
}

// maxMisses is how many objects of other slabs FreeBulk skips in search of more of the same slab
// before it frees what it has (kernel: build_detached_freelist).
const maxMisses = 3

// FreeBulk returns objects to their slabs. It chains objects of one slab, so that the slab's state
// changes once for many of them. It reorders objs. All of them are free even if a report doesn't
// return.
func (s *Slabs) FreeBulk(objs []unsafe.Pointer) {
	var node uint8 // sum counts objects of this node; one count for many slabs
	sum := 0
	if len(objs) > 1 {
		s.readFreed(objs)
	}
	for len(objs) > 0 {
		last := len(objs) - 1
		tail := uintptr(objs[last])
		r := s.slabOf(tail)
		if !s.owns(s.pageOf(objs[last])) {
			objs = objs[:last]
			s.countFree(node, sum) // as below, since a report may not return
			sum = 0
			s.freeGone(s.Addr(r), tail, func() { s.FreeBulk(objs) })
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
				s.countFree(node, sum)
				sum = 0
				s.reportFreeing(finding{obj: obj, twice: true}, r, head, tail, n, objs[:same])
				continue
			}
			s.SetNext(obj, head)
			head = obj
			n++
		}
		objs = objs[:same]
		if node != r.node {
			s.countFree(node, sum)
			node, sum = r.node, 0
		}
		found, freed := s.addFree(r, head, tail, n)
		sum += freed
		if found.any() {
			s.countFree(node, sum)
			sum = 0
			s.reportFreeing(found, r, 0, 0, 0, objs)
		}
	}
	s.countFree(node, sum)
}
