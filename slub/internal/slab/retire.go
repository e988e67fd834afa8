package slab

import (
	"runtime"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// Slabs whose pages must not become anything else before a grace period is over (TypesafeByRCU)
// are retired when they would go back to the arena. Readers may still look at their objects, and
// find what a reader of this cache always finds: an object of the cache, free or in use again.
// So the cache may use a retired slab again at once. It does so before it makes a new one on that
// node. What waits on a node is therefore never more than the cache once used there, even if the
// grace period never ends.
//
// Ownership: a retired slab has no object out and is not listed, its pages have the owner word
// Retired, and it is on one of the node's lists of retired slabs: fresh or aging, of its kind. So
// no operation comes to it by an object or by the partial list. Its descriptor, its chain and its
// pages belong to the holder of the node's lock. Only three functions take it off its list, under
// that lock: unretire, which lists it as partial again; unretireAlone, which is for slabs of one
// object; and reclaimRetired, which gives its pages back. So a slab is either used again or given
// back.
//
// Grace periods: there is one callback for each node at a time, and not one for each slab.
//
//	retire:         put the slab on aging or fresh, under the lock; queue the callback if none is
//	reclaimRetired: take aging as a whole, under the lock; what was fresh becomes aging; queue the
//	                callback if that is not empty; give back what was taken
//
// The callback is queued after the last slab came to aging: a slab that is retired while one is
// queued becomes fresh. So when it runs, a grace period has passed since every slab of aging was
// retired. A slab that is used again meanwhile, and retired again, becomes fresh.
//
// A slab is not yet taken off node.slabs, for which Close waits, when its retire has not queued the
// callback that it has to. So when Close finds no slabs, every retired one is given back by a
// callback that is queued or running, or by the one that this one queues before it returns.

// A Backlog is told how many bytes of retired slabs wait for a grace period. Charge and Release are
// called under a node's lock or without: they take no lock and don't wait. CheckSoftLimit is called
// after a Charge, without a lock, when the slab is in its place.
type Backlog interface {
	Charge(bytes int64)
	Release(bytes int64)
	CheckSoftLimit()
}

// retire makes a slab wait whose objects are all free and which is on no list.
func (s *Slabs) retire(r Ref) {
	n, node, objects, bytes := &s.nodes[r.node], r.node, r.objects, int64(r.Bytes())
	// The pages lose their cache, so that Free refuses a pointer into them, but their content
	// stays as it is.
	s.arena.SetOwner(r.page, int(r.pages), owner.Retired)
	if s.backlog != nil {
		s.backlog.Charge(bytes)
	}
	n.retired.Add(1)
	n.mu.Lock()
	if invariants.Enabled {
		invariants.Reach(invariants.NodeHeld)
		invariants.Check(!r.listed && r.load().inuse == 0, "slab at %#x retires, listed: %v, %d objects are out",
			r.addr, r.listed, r.load().inuse)
	}
	kind := &n.shared
	if r.kind.has(alone) {
		kind = &n.alone
	}
	queue := !n.queued
	n.queued = true
	if queue {
		r.next, kind.aging = kind.aging, r.link()
	} else {
		r.next, kind.fresh = kind.fresh, r.link()
	}
	n.unlock()
	// From here on the slab may be in use again, or given back.
	if queue {
		s.afterGracePeriod(n.reclaim)
	}
	s.uncount(node, objects, objects)
	if s.backlog != nil {
		s.backlog.CheckSoftLimit()
	}
}

// unretire lists a retired slab again, and reports whether there was one: the one that was retired
// last, whose objects may still be in the processor's caches. No constructor runs, as the objects
// are as they were freed. The caller holds n.mu.
func (s *Slabs) unretire(n *node) bool {
	r, ok := s.popRetired(&n.shared)
	if !ok {
		return false
	}
	s.revive(n, r)
	n.add(s, r, false)
	s.countFree(r.node, int(r.objects))
	return true
}

// popRetired takes the slab that was retired last off its list. The caller holds the node's lock.
func (s *Slabs) popRetired(kind *retiredSlabs) (r Ref, ok bool) {
	list := &kind.fresh
	if *list == 0 {
		list = &kind.aging
	}
	if *list == 0 {
		return Ref{}, false
	}
	r = s.linked(*list)
	*list = r.next
	return r, true
}

// revive makes a slab that popRetired has returned one that is not retired, before any object of it
// is out, as grow does.
func (s *Slabs) revive(n *node, r Ref) {
	s.arena.SetOwner(r.page, int(r.pages), s.word(r))
	n.retired.Add(-1)
	n.slabs.Add(1)
	n.objects.Add(int64(r.objects))
	s.count(s.counters.AllocSlab)
	if s.backlog != nil {
		s.backlog.Release(int64(r.Bytes()))
	}
}

// reclaimRetired gives back the node's slabs whose grace period is over. It is the callback.
func (s *Slabs) reclaimRetired(n *node) {
	n.mu.Lock()
	ready := [...]uint32{n.shared.aging, n.alone.aging}
	n.shared = retiredSlabs{aging: n.shared.fresh}
	n.alone = retiredSlabs{aging: n.alone.fresh}
	n.queued = n.shared.aging != 0 || n.alone.aging != 0
	again := n.queued
	n.unlock()
	if again {
		s.afterGracePeriod(n.reclaim)
	}
	for _, link := range ready {
		s.freeRetired(n, link)
	}
}

// freeRetired gives back the pages of a list of retired slabs.
func (s *Slabs) freeRetired(n *node, link uint32) {
	for link != 0 {
		r := s.linked(link)
		link = r.next
		s.acquireSlab(r)
		page, pages := r.page, int(r.pages)
		// From here on the descriptor must not be read any more.
		s.freeRun(page, pages)
		if s.backlog != nil {
			s.backlog.Release(int64(pages) * mem.PageSize)
		}
		n.retired.Add(-1) // last: Close waits until there are none
	}
	runtime.KeepAlive(n)
}
