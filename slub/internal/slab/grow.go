package slab

import (
	"math/rand/v2"
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// grow makes a new slab on the node with the given index. All of its objects are out: the caller
// hands out what it wants, and carve lists the others. If onNewSlab doesn't return, the slab goes
// back to the arena.
//
// A slab takes a whole block, also where its objects leave the last pages alone: if single pages
// were cut off, they would serve other slabs, and when this one is freed its block would not be
// whole again. A range hardly larger than what is in use then has no block left for a slab.
func (s *Slabs) grow(node int) (Ref, error) {
	order, pages := s.order, 1<<s.order
	if s.single {
		pages = int(s.size / mem.PageSize)
	}
	if run, ok := s.takeFenced(pages, node); ok {
		run.Pages--
		return s.begin(run, node, false, false), nil
	}
	run, err := s.takeRun(pages, node)
	least := mem.Order(s.size)
	if err != nil && order > least {
		// Fragmented or near the limit: the smallest order that holds an object
		// (kernel: allocate_slab).
		if run, err = s.takeRun(1<<least, node); err == nil {
			order = least
			s.count(s.counters.OrderFallback)
		}
	}
	if err != nil {
		return Ref{}, err
	}
	return s.begin(run, node, order != s.order, false), nil
}

// begin makes a run a slab. small marks it as one whose objects need a closer look when they are
// freed; alone is described with TakeAlone.
func (s *Slabs) begin(run arena.Run, node int, small, alone bool) Ref {
	r := s.slabAt(run.Page)
	r.pages, r.node, r.small, r.alone = uint16(run.Pages), uint8(node), small, alone
	if r.objects = uint32(r.Bytes() / s.size); alone {
		r.objects = 1
	}
	r.state.Store(slabState{inuse: r.objects}.pack())
	if r.small {
		s.fallbacks.Add(1)
	}
	mem.Store32(&r.inUse, 0) // whatever the record held before
	if s.marks != nil {
		s.marks.reset(r)
	}
	s.arena.SetOwner(run.Page, int(run.Pages), s.word(r))
	n := &s.nodes[node]
	n.slabs.Add(1)
	n.objects.Add(int64(r.objects))
	s.count(s.counters.AllocSlab)
	if s.zero && !run.Zero {
		mem.Zero(r.addr, r.Bytes())
	}
	if s.onNewSlab != nil {
		callback.Guard(func() { s.onNewSlab(r) }, func() { s.giveBack(r, 0) })
	}
	s.releaseSlab(r)
	return r
}

// word returns the owner word of a slab's pages.
func (s *Slabs) word(r Ref) owner.Word {
	word := owner.Of(s.id, int(r.node))
	if r.small {
		word |= owner.NonDefaultOrder
	}
	return word
}

// giveBack gives the arena a slab that no reader has seen, or that none can see any more. free of
// its objects count as free: all, or none if they were never handed out.
func (s *Slabs) giveBack(r Ref, free uint32) {
	page, node, pages, objects, guarded := r.page, r.node, int(r.pages), r.objects, r.guarded
	s.acquireSlab(r)
	// From here on the descriptor must not be read any more.
	if guarded {
		s.freeGuarded(page)
	} else {
		s.freeRun(page, pages)
	}
	s.uncount(node, objects, free)
}

// uncount takes a slab off the node's counts. It comes last: Close takes a cache without slabs to
// be no longer in use.
func (s *Slabs) uncount(node uint8, objects, free uint32) {
	n := &s.nodes[node]
	s.countFree(node, -int(free))
	n.objects.Add(-int64(objects))
	n.slabs.Add(-1)
	runtime.KeepAlive(n)
}

// carve hands out objects of a new slab up to len(dst), and chains the others.
func (s *Slabs) carve(r Ref, dst []unsafe.Pointer) int {
	n := uint32(min(uintptr(len(dst)), uintptr(r.objects)))
	order := s.permuted(r)
	for i := range n {
		dst[i] = mem.Ptr(s.place(r, order, i))
	}
	if n == r.objects {
		return int(n)
	}
	// The chain is built only now, over what is left: the links of the objects that are handed
	// out would have been written for nothing (kernel 7.2, 1f7c8e1d5242).
	next := uintptr(0)
	for i := r.objects; i > n; i-- {
		obj := s.place(r, order, i-1)
		s.SetNext(obj, next)
		next = obj
	}
	nd := &s.nodes[r.node]
	nd.mu.Lock()
	// No free can come before the caller of Take has the objects in dst, so the
	// state may simply be stored.
	r.state.Store(slabState{free: r.starting(next), inuse: n}.pack())
	nd.add(s, r, false)
	nd.unlock()
	s.countFree(r.node, int(r.objects-n))
	return int(n)
}

// place returns the address of the i-th object that a new slab hands out. order is what permuted
// returned.
func (s *Slabs) place(r Ref, order []uint32, i uint32) uintptr {
	if order != nil {
		i = order[i]
	}
	return s.Object(r, i)
}

// permuted returns the order in which a new slab hands out its objects. nil is that of their
// addresses. Otherwise it is the cache's random order from a random start, without the objects
// that a slab of lower order doesn't have (kernel: shuffle_freelist).
func (s *Slabs) permuted(r Ref) []uint32 {
	if len(s.shuffle) == 0 {
		return nil
	}
	order := make([]uint32, 0, r.objects)
	start := rand.IntN(len(s.shuffle))
	for i := range s.shuffle {
		if k := s.shuffle[(start+i)%len(s.shuffle)]; k < r.objects {
			order = append(order, k)
		}
	}
	return order
}
