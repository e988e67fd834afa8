package slab

import (
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A guarded object is alone in a page of a pool that the cache's owner keeps: between pages that
// fault on every access (package guard). The page is a run of the arena, but one that the slabs
// neither take from it nor give back. The object begins where TakeGuarded is told, so that it ends
// with the page, for example. The offset is kept in slab.next: such a slab is never on a list.

// TakeGuarded makes the page a slab of one object, which begins shift bytes behind the page's
// beginning, and returns the object. The page can be written, has any content, and belongs to the
// slabs until Config.ReleaseGuarded gets it. If TakeGuarded returns an error, which is
// Config.Charge's, the caller keeps the page. If a function of Config doesn't return,
// ReleaseGuarded gets it. It is not for slabs with AfterGracePeriod, or of Single objects.
func (s *Slabs) TakeGuarded(page uint32, node int, shift uintptr) (unsafe.Pointer, error) {
	if err := s.prepareTables(s.arena.Addr(page), mem.PageSize); err != nil {
		return nil, err
	}
	if s.charge != nil {
		if err := s.charge(mem.PageSize); err != nil {
			return nil, err
		}
	}
	r := s.slabAt(page)
	r.next = uint32(shift)
	return mem.Ptr(s.begin(arena.Run{Page: page, Pages: 1}, node, small|alone|guarded).start()), nil
}

// start returns the address of the slab's first object.
func (r Ref) start() uintptr {
	if r.kind.has(guarded) {
		return r.addr + uintptr(r.next)
	}
	return r.addr
}

// Start returns the address of the first object of the slab whose run has the given head page.
func (s *Slabs) Start(head uint32) uintptr { return s.slabAt(head).start() }

// endGuarded tells of the free of a guarded object, and notes what was found, for reportDamages.
func (s *Slabs) endGuarded(r Ref, obj uintptr) (damaged bool) {
	found, history := s.onGuardedFreed(obj)
	if found == "" {
		return false
	}
	s.note(Damage{Slab: s.Addr(r), Object: obj, Beside: true, Detail: found, History: history})
	return true
}

// freeGuarded gives a guarded page back to its pool. The pages get their word first: then no free
// finds the cache by it.
func (s *Slabs) freeGuarded(page uint32) {
	s.arena.SetOwner(page, 1, owner.Retired)
	s.releaseGuarded(s.arena.Addr(page))
	if s.uncharge != nil {
		s.uncharge(mem.PageSize)
	}
}
