package slab

import "runtime"

// Visit calls visit with each slab whose objects stay where they are meanwhile, under the lock of
// its node. visit must not call into the slabs, except Object, Addr and what reads or sets marks,
// and may take only locks that are never held around a call into the slabs that waits for a lock.
//
// Under that lock a listed slab stays listed, with an object out or without one, and one without
// free objects stays so: its next free takes the lock, too. So neither goes back to the arena. A
// slab that a refill has in its hands is looked at again some times, then passed over. Passed over
// are also isolated slabs, and those of one object that is alone, whose free takes no lock. The
// cost is Validate's.
func (s *Slabs) Visit(visit func(Ref)) {
	for r := range s.all() {
		for looks := 1; !s.visit(r, visit) && looks < maxLooks; looks++ {
			runtime.Gosched()
		}
	}
}

// visit is Visit of one slab. It returns false if a refill has the slab.
func (s *Slabs) visit(r Ref, visit func(Ref)) bool {
	node := int(r.node)
	if node >= len(s.nodes) { // not a slab of ours any more
		return true
	}
	n := &s.nodes[node]
	n.mu.Lock()
	defer n.unlock()
	switch {
	case !s.owns(r.page) || r.isolated || r.kind.has(alone):
	case r.load().hasFree() && !r.listed:
		return false
	default:
		visit(r)
	}
	return true
}
