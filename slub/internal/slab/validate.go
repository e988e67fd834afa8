package slab

import (
	"errors"
	"fmt"
	"iter"
)

// Validate yields the slabs whose chain of free objects is damaged, or whose descriptor does not
// fit the owner word or the run: the address of each, and what is wrong. Allocations and frees may
// go on meanwhile, but a node's refills wait while one of its slabs is looked at. It takes
// milliseconds for each GiB that was ever used of the arena, and nanoseconds for each free object.
// (Kernel: validate_slab_cache.)
func (s *Slabs) Validate() iter.Seq2[uintptr, string] {
	return func(yield func(slab uintptr, problem string) bool) {
		for r := range s.all() {
			if problem := s.validateLocked(r); problem != "" && !yield(s.Addr(r), problem) {
				return
			}
		}
	}
}

// validate says what is wrong with a slab; ok for nothing. The caller holds the node's lock.
//
// Under that lock nothing takes a listed slab off the list, or any of its free objects. So the
// chain can only grow at its start, and what follows the start that was read stays as it is. A slab
// that is not listed has no free objects, or is private to a refill. A slab that went back to the
// arena since it was found is not listed, or its pages have another owner.
func (s *Slabs) validate(r Ref) (d Damage, ok bool) {
	if !s.owns(r.page) || !r.listed {
		return Damage{}, true
	}
	if !s.fits(r) {
		return Damage{Slab: s.Addr(r), Detail: fmt.Sprintf("the descriptor has %d objects in %d pages", r.objects, r.pages)}, false
	}
	return s.diagnose(r, r.load())
}

// validateLocked is validate for callers that hold no lock, and first compares the descriptor with
// the owner word; "" for nothing.
func (s *Slabs) validateLocked(r Ref) (problem string) {
	word := s.arena.Owner(r.page)
	if word.ID() != s.id {
		return ""
	}
	// The node is that of the word: the descriptor's may be none.
	if word.Node() >= len(s.nodes) {
		return fmt.Sprintf("the owner word says node %d of %d", word.Node(), len(s.nodes))
	}
	n := &s.nodes[word.Node()]
	n.mu.Lock()
	defer n.unlock()
	if own := s.word(r); own != word && s.arena.Owner(r.page) == word {
		return fmt.Sprintf("the owner word is %#x, and that of the descriptor %#x", word, own)
	}
	d, _ := s.validate(r)
	return d.Detail
}

// fits reports whether the numbers of objects and pages of a slab that is listed are those that it
// was made with, as far as its run and its kind tell. The caller holds the node's lock.
func (s *Slabs) fits(r Ref) bool {
	_, pages, ok := s.arena.Head(r.page)
	if !ok || r.pages == 0 || int(r.pages) > pages {
		return false
	}
	if r.kind.has(alone) {
		return r.objects == 1
	}
	return uintptr(r.objects) == r.Bytes()/s.size
}

// Recount returns what NodeStats should return for each node, from a walk over the arena's range
// and the lists of retired slabs, and an error for a slab whose listing doesn't fit its chain. It
// is for tests: nothing may be allocated or freed meanwhile.
func (s *Slabs) Recount() (nodes []NodeStats, err error) {
	nodes = make([]NodeStats, len(s.nodes))
	empty := make([]int64, len(s.nodes))
	for r := range s.all() {
		n, st := &nodes[r.node], r.load()
		n.Slabs++
		n.Objects += int64(r.objects)
		if r.listed != st.hasFree() {
			err = errors.Join(err, fmt.Errorf("the slab at %#x is listed: %v, has free objects: %v", r.addr, r.listed, st.hasFree()))
		}
		if st.hasFree() {
			n.Partial++
			n.FreeInSlabs += int64(r.objects - st.inuse)
		}
		if st.inuse == 0 {
			empty[r.node]++
		}
	}
	for i := range s.nodes {
		nodes[i].Retired = s.countRetired(&s.nodes[i])
		if counted := s.nodes[i].empty.Load(); counted != empty[i] {
			err = errors.Join(err, fmt.Errorf("node %d counts %d empty slabs, and has %d", i, counted, empty[i]))
		}
	}
	return nodes, err
}

// countRetired counts the retired slabs on a node's lists.
func (s *Slabs) countRetired(n *node) (slabs int64) {
	n.mu.Lock()
	defer n.unlock()
	for _, link := range []uint32{n.shared.fresh, n.shared.aging, n.alone.fresh, n.alone.aging} {
		for ; link != 0; link = s.linked(link).next {
			slabs++
		}
	}
	return slabs
}
