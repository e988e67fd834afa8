package slab

import "fmt"

// A Mended says what was wrong with a slab's chain, and what Mend has done about it.
type Mended struct {
	Slab   uintptr // address of the slab
	Object uintptr // the object whose link was overwritten; 0 where the count alone was wrong
	Detail string  // what was wrong
	Fix    string  // what was done; "" if the next Mended says it
}

// Mend is Validate that repairs: it cuts a chain where it leads to what is no free object of the
// slab, and makes the count agree with the chain. The objects behind the cut count as in use from
// then on. It yields what it has done to each slab, under no lock, and costs what Validate costs.
// (Kernel: on_freelist, with the repairs of SLAB_CONSISTENCY_CHECKS.)
func (s *Slabs) Mend(yield func(Mended) bool) {
	for r := range s.all() {
		for _, m := range s.mend(r) {
			if !yield(m) {
				return
			}
		}
	}
}

// mend is Mend of one slab. As for validate, the node's lock keeps a listed slab's chain as it is
// behind its start, which frees may change: then the exchange of the state fails, and all is looked
// at again. No free changes the link of an object that is in the chain, so the cut is not lost.
func (s *Slabs) mend(r Ref) (done []Mended) {
	nd := &s.nodes[r.node]
	nd.mu.Lock()
	defer nd.unlock()
	for s.owns(r.page) && r.listed {
		st := r.load()
		d, ok := s.diagnose(r, st)
		if ok {
			break
		}
		n, last := s.sound(r, st)
		if d.Object != 0 { // the chain doesn't end as it should
			done = append(done, Mended{Slab: d.Slab, Object: last, Detail: d.Detail})
			if last != 0 {
				s.SetNext(last, 0)
			}
		}
		if n == r.chained(st) {
			done[len(done)-1].Fix = "Freelist cut"
			break
		}
		after := slabState{free: st.free, untouched: st.untouched, inuse: r.objects - st.untouched - uint32(n)}
		if n == 0 {
			after.free = 0
		}
		if !r.state.CompareAndSwap(st.pack(), after.pack()) {
			continue
		}
		done = append(done, Mended{Slab: d.Slab, Detail: fmt.Sprintf("%d objects are free by the chain, %d by the count", n, r.chained(st)),
			Fix: "Object count adjusted"})
		s.countFree(r.node, int(st.inuse)-int(after.inuse))
		switch {
		case st.inuse == 0 && after.inuse > 0:
			nd.empty.Add(-1)
		case st.inuse > 0 && after.inuse == 0:
			nd.empty.Add(1)
		}
		if !after.hasFree() {
			nd.remove(s, r)
		}
		break
	}
	return done
}

// sound returns how many objects the chain of st has up to the first link that is wrong, or in all,
// and the last of these; 0 if there is none.
func (s *Slabs) sound(r Ref, st slabState) (n int, last uintptr) {
	seen := make([]bool, r.objects)
	s.markUntouched(r, st, seen)
	for obj, ok := r.first(st), true; obj != 0 && ok; {
		off := obj - r.addr
		i := off / s.size
		if off%s.size != 0 || i >= uintptr(r.objects) || seen[i] {
			break
		}
		seen[i] = true
		n, last = n+1, obj
		obj, ok = s.nextInSlab(obj, r)
	}
	return n, last
}
