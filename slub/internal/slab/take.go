package slab

import (
	"math/rand/v2"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/callback"
)

// Take stores up to len(dst) objects in dst, those of the node with the given index first. It goes
// on to the next step when it has not enough:
//
//  1. partial slabs of the node
//  2. only near a limit, or as SetRemoteDefragRatio says: partial slabs of other nodes with plenty
//  3. new slabs of the node
//  4. partial slabs of other nodes with plenty
//  5. new slabs of other nodes
//  6. partial slabs of other nodes, the last ones too
//
// Other nodes come by distance, and have plenty if they have more partial slabs than they keep, see
// SetMinPartial. With strict, other nodes are left out. A node's own new slabs come before other
// nodes' partial slabs since an object of another node goes home when it is freed, and doesn't come
// back. If the partial slabs of a node that is idle now came first, all that this node
// works with would be of the other one, for as long as the program runs.
//
// Take returns how many objects it has stored; the error says why there are fewer than len(dst),
// and is the arena's or Config.Charge's. If a function of Config doesn't return, Take frees what it
// has stored in dst. (Kernel: refill_objects, which has the steps 1, 2, 3 and 5.)
func (s *Slabs) Take(node int, dst []unsafe.Pointer, strict bool) (int, error) {
	others := s.fallbackNodes[node]
	if strict {
		others = nil
	}
	got, found := s.takePartials(node, others, dst)
	for {
		for found.any() {
			var n int
			s.reportTaking(found, dst[:got])
			n, found = s.takePartials(node, others, dst[got:])
			got += n
		}
		if got == len(dst) {
			return got, nil
		}
		var err error
		if s.onNewSlab == nil {
			found, err = s.takeMore(node, others, dst, &got)
		} else {
			callback.Guard(
				func() { found, err = s.takeMore(node, others, dst, &got) },
				func() { s.FreeBulk(dst[:got]) })
		}
		if !found.any() {
			return got, err
		}
	}
}

// takePartials is steps 1 and 2 of Take. It stops at the first object whose slab is not sound, when
// everything but dst is in its place, so that the caller can report it.
func (s *Slabs) takePartials(node int, others []int, dst []unsafe.Pointer) (got int, found finding) {
	got, found = s.takePartial(node, dst)
	if !found.any() && got < len(dst) && len(others) > 0 && s.reachesOut() {
		found = s.takePlenty(others, dst, &got)
	}
	return got, found
}

// reachesOut reports whether a refill shall look for objects on other nodes before it makes a slab.
func (s *Slabs) reachesOut() bool {
	switch ratio := s.defrag.Load(); {
	case ratio == arena.None:
		return false
	case ratio > 0 && rand.Int64N(100) < ratio:
		return true
	}
	return s.arena.NearLimit() || s.nearLimit != nil && s.nearLimit()
}

// takeMore is steps 3 to 6 of Take for dst, which has *got objects. Like takePartials it stops at
// the first finding.
func (s *Slabs) takeMore(node int, others []int, dst []unsafe.Pointer, got *int) (finding, error) {
	found, err := s.takeNew(node, dst, got)
	if err == nil || len(others) == 0 {
		return found, err
	}
	if found = s.takePlenty(others, dst, got); found.any() || *got == len(dst) {
		return found, nil
	}
	for _, i := range others {
		before := *got
		found, err = s.takeNew(i, dst, got)
		if s.nodes[i].countRemote(*got - before); err == nil {
			return found, nil
		}
	}
	for _, i := range others {
		var n int
		n, found = s.takePartial(i, dst[*got:])
		s.nodes[i].countRemote(n)
		if *got += n; found.any() || *got == len(dst) {
			return found, nil
		}
	}
	return finding{}, err
}

// takeNew fills dst, which has *got objects, from new slabs of one node. It may find something in
// retired slabs, and stops there.
func (s *Slabs) takeNew(node int, dst []unsafe.Pointer, got *int) (finding, error) {
	for *got < len(dst) {
		// takePartials has looked for retired slabs on the caller's own node only.
		if s.nodes[node].retired.Load() > 0 {
			n, found := s.takePartial(node, dst[*got:])
			if *got += n; found.any() || *got == len(dst) {
				return found, nil
			}
		}
		r, err := s.grow(node)
		if err != nil {
			return finding{}, err
		}
		*got += s.carve(r, dst[*got:])
	}
	return finding{}, nil
}

// takePlenty stores in dst, which has *got objects, those of partial slabs of nodes that have more
// of these than minPartial. It passes over a node whose lock is held: under memory pressure many
// CPUs come here, and would all wait for one lock (kernel 7.x, 40fd0acc45d0).
func (s *Slabs) takePlenty(nodes []int, dst []unsafe.Pointer, got *int) (found finding) {
	for _, i := range nodes {
		if found.any() || *got == len(dst) {
			break
		}
		if n := &s.nodes[i]; n.partial.Load() > s.minPartial.Load() && n.mu.TryLock() {
			var k int
			k, found = s.takeFromPartial(n, dst[*got:])
			n.countRemote(k)
			*got += k
		}
	}
	return found
}
