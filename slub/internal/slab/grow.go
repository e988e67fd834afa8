package slab

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// grow makes a new slab on the node with the given index. All of its objects are out: the caller
// hands out what it wants by carve, which lists the slab with the others. If onNewSlab doesn't
// return, the slab goes back to the arena.
//
// A slab takes a whole block, also where its objects leave the last pages alone: if single pages
// were cut off, they would serve other slabs, and when this one is freed its block would not be
// whole again. A range hardly larger than what is in use then has no block left for a slab.
func (s *Slabs) grow(node int) (Ref, error) {
	if s.onGrow != nil {
		s.onGrow()
	}
	order, pages := s.order, 1<<s.order
	if s.single {
		pages = int(s.size / mem.PageSize)
	}
	if run, ok := s.takeFenced(pages, node); ok {
		run.Pages--
		return s.begin(run, node, 0), nil
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
	var k kind
	if order != s.order {
		k = small
	}
	return s.begin(run, node, k), nil
}

// begin makes a run a slab of kind k.
func (s *Slabs) begin(run arena.Run, node int, k kind) Ref {
	r := s.slabAt(run.Page)
	r.pages, r.node, r.kind, r.begins = uint16(run.Pages), uint8(node), k, s.randomBegin()
	if r.objects = uint32(r.Bytes() / s.size); k.has(alone) {
		r.objects = 1
	}
	r.state.Store(slabState{inuse: r.objects}.pack())
	if k.has(small) {
		s.fallbacks.Add(1)
	}
	mem.Store32(&r.inUse, 0) // whatever the record held before
	if s.marks != nil {
		s.marks.reset(r)
	}
	if s.exts != nil {
		s.exts.reset(r)
	}
	s.arena.SetOwner(run.Page, int(run.Pages), s.word(r))
	n := &s.nodes[node]
	n.slabs.Add(1)
	n.objects.Add(int64(r.objects))
	s.count(s.counters.AllocSlab)
	if s.zero && !run.Zero {
		mem.Zero(s.Addr(r), r.Bytes())
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
	if r.kind.has(small) {
		word |= owner.NonDefaultOrder
	}
	return word
}

// giveBack gives the arena a slab that no reader has seen, or that none can see any more. free of
// its objects count as free: all, or none if they were never handed out.
func (s *Slabs) giveBack(r Ref, free uint32) {
	page, node, pages, objects, k := r.page, r.node, int(r.pages), r.objects, r.kind
	s.acquireSlab(r)
	// From here on the descriptor must not be read any more.
	if k.has(guarded) {
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

// carve hands out objects of a new slab up to len(dst). The others stay untouched, and no link is
// written.
func (s *Slabs) carve(r Ref, dst []unsafe.Pointer) int {
	n := uint32(min(uintptr(len(dst)), uintptr(r.objects)))
	s.placed(r, 0, dst[:n])
	if n == r.objects {
		return int(n)
	}
	if e := s.arena.PlacementError(int(r.node)); e != nil && e.FirstTouch {
		s.touchPages(r)
	}
	nd := &s.nodes[r.node]
	nd.mu.Lock()
	// No free can come before the caller of Take has the objects in dst, so the
	// state may simply be stored.
	r.state.Store(slabState{untouched: r.objects - n, inuse: n}.pack())
	nd.add(s, r, false)
	nd.unlock()
	s.countFree(r.node, int(r.objects-n))
	return int(n)
}

// touchPages makes the pages of a new slab resident, and changes nothing in them. Where the kernel
// can't be asked to place memory, a page lies on the node of the CPU that touches it first. The CPU
// that makes a slab is mostly one of the slab's node. One that takes an untouched object of it
// later may be of another node.
func (s *Slabs) touchPages(r Ref) {
	for off := uintptr(0); off < r.Bytes(); off += mem.PageSize {
		atomic.OrUint32(mem.At[uint32](s.Addr(r)+off), 0)
	}
}
