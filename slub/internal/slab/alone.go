package slab

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// An object is alone if it has a slab for itself, of the lowest order that holds one object. The
// cache asks for such an object where it must see that object freed: the slab's pages are marked
// like those of a slab of lower order, so that the sequences of Free leave the object to their slow
// paths, and objects beside it are not concerned. The object must come back to Free or FreeBulk,
// never by a sheaf: Alone tells. Its slab goes back to the arena at once, or retires.
//
// A slab of one object that retires is used again by TakeAlone only. A refill would get one object
// for a page, whose free always takes the slow path. TakeAlone looks for such a slab before it
// makes one. So while a grace period never ends, as many wait as objects were ever alone at once.

// TakeAlone returns an object of the given node that is alone, or the error of the arena or of
// Config.Charge. If a function of Config doesn't return, the slab goes back.
func (s *Slabs) TakeAlone(node int) (unsafe.Pointer, error) {
	if p := s.unretireAlone(&s.nodes[node]); p != nil {
		return p, nil
	}
	pages := 1 << mem.Order(s.size)
	if s.single {
		pages = int(s.size / mem.PageSize)
	}
	run, err := s.takeRun(pages, node)
	if err != nil {
		return nil, err
	}
	return mem.Ptr(s.begin(run, node, small|alone).addr), nil
}

// unretireAlone takes the object of the node's slab with one object that retired last, or returns
// nil. As in unretire, no constructor runs.
func (s *Slabs) unretireAlone(n *node) unsafe.Pointer {
	if n.retired.Load() == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.unlock()
	r, ok := s.popRetired(&n.alone)
	if !ok {
		return nil
	}
	r.state.Store(slabState{inuse: 1}.pack()) // nothing else knows the slab
	s.revive(n, r)
	return mem.Ptr(r.addr)
}

// Alone reports whether the object that starts at p, which is in use, is alone.
func (s *Slabs) Alone(p unsafe.Pointer) bool {
	page := s.pageOf(p)
	if !s.arena.Owner(page).HasFlags() {
		return false
	}
	head, _, ok := s.arena.Head(page)
	return ok && s.slabAt(head).kind.has(alone)
}

// ObjectsIn returns how many objects the slab has whose run has the given head page.
func (s *Slabs) ObjectsIn(head uint32) uintptr { return uintptr(s.slabAt(head).objects) }

// freeAlone frees an object that is alone, and its slab. It returns what the caller is to report:
// that the object was freed before, also one that had the page before the slab did; or that
// something was written beside a guarded object.
func (s *Slabs) freeAlone(r Ref, obj uintptr) (found finding) {
	again := finding{obj: obj, twice: true}
	if obj != r.start() {
		return again
	}
	if s.afterGracePeriod != nil {
		s.SetNext(r.addr, 0) // a slab that retires has its chain
	}
	out := slabState{inuse: 1}
	if !r.state.CompareAndSwap(out.pack(), slabState{free: r.starting(obj)}.pack()) {
		return again
	}
	if s.onAloneFreed != nil {
		s.onAloneFreed(obj)
	}
	if r.kind.has(guarded) {
		found.damaged = s.endGuarded(r, obj)
	}
	s.count(s.counters.FreeSlab)
	if s.afterGracePeriod != nil {
		s.countFree(r.node, 1)
		s.retire(r)
		return found
	}
	s.giveBack(r, 0)
	return found
}
