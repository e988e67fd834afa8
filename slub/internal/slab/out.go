package slab

import (
	"iter"
	"runtime"
)

// maxLooks is how often Out looks at a slab that a refill has in its hands.
const maxLooks = 100

// Out yields, slab by slab, the addresses of the objects that are out, in a slice that is valid
// until the next step, and the index of the slab's node. Allocations and frees may go on meanwhile.
//
// Each slab is looked at for itself, under its node's lock if it has free objects, as by Validate;
// no lock is held during yield. Where a refill has a slab in its hands its chain can't be read:
// after some looks all objects of the slab count as out. So an object that is out all the time is
// yielded once, and one that is in its slab all the time only in that case. Those of isolated
// slabs are left out, of which it can't be told. The cost is Validate's.
func (s *Slabs) Out() iter.Seq2[int, []uintptr] {
	return func(yield func(node int, objs []uintptr) bool) {
		var w outWalk
		for r := range s.all() {
			node := int(r.node)
			if node >= len(s.nodes) { // not a slab of ours any more
				continue
			}
			for looks := 1; !s.outOf(&w, r, node, looks == maxLooks); looks++ {
				runtime.Gosched()
			}
			if len(w.out) > 0 && !yield(node, w.out) {
				return
			}
		}
	}
}

// InUse is Out for a caller that wants the objects one by one.
func (s *Slabs) InUse() iter.Seq[uintptr] {
	return func(yield func(uintptr) bool) {
		for _, objs := range s.Out() {
			for _, obj := range objs {
				if !yield(obj) {
					return
				}
			}
		}
	}
}

// An outWalk is the memory of an Out.
type outWalk struct {
	out  []uintptr
	free []bool // by object of the slab
}

// outOf sets w.out to the objects of a slab that are out. It returns false if it has to be called
// again: a refill has the slab, unless last is set, or w has too little memory, which is not
// allocated under the lock.
func (s *Slabs) outOf(w *outWalk, r Ref, node int, last bool) bool {
	w.out = w.out[:0]
	if objects := int(r.objects); len(w.free) < objects {
		w.free, w.out = make([]bool, objects), make([]uintptr, 0, objects)
	}
	n := &s.nodes[node]
	n.mu.Lock()
	defer n.unlock()
	st, objects := r.load(), r.objects
	switch {
	case !s.owns(r.page) || r.isolated:
		return true
	case int(objects) > len(w.free):
		return last
	case st.hasFree() && !r.listed && !last:
		return false
	}
	clear(w.free)
	if r.listed { // the chain only grows at its start, see validate
		s.markFree(r, st, w.free)
	}
	for i := range objects {
		if !w.free[i] {
			w.out = append(w.out, s.Object(r, i))
		}
	}
	return true
}
