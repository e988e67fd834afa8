package slab

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// An object that is alone has a slab of the lowest order to itself, whose pages are marked, and the
// slab goes back to the arena with the object. Objects in other slabs are found as before.
func TestAlone(t *testing.T) {
	for _, size := range []uintptr{64, 1000, 9000} {
		var freed []uintptr
		s := open(t, size, Config{Order: 3, OnAloneFreed: func(obj uintptr) { freed = append(freed, obj) }})
		objs := make([]unsafe.Pointer, 100)
		if n, err := s.Take(0, objs, false); n != len(objs) {
			t.Fatal(n, err)
		}
		before := s.NodeStats(0)
		var alone []unsafe.Pointer
		for range 3 {
			p, err := s.TakeAlone(0)
			if err != nil {
				t.Fatal(err)
			}
			alone = append(alone, p)
			page, _ := s.arena.PageOf(uintptr(p))
			if !s.Alone(p) || !s.arena.Owner(page).HasFlags() || s.ObjectsIn(page) != 1 {
				t.Errorf("size %d: %p is alone: %v, owner word %#x", size, p, s.Alone(p), s.arena.Owner(page))
			}
		}
		for _, p := range objs {
			if s.Alone(p) {
				t.Errorf("size %d: %p, of Take, is alone", size, p)
			}
		}
		if now := s.NodeStats(0); now.Slabs != before.Slabs+3 || now.Objects != before.Objects+3 || now.FreeInSlabs != before.FreeInSlabs {
			t.Errorf("size %d: %+v, then %+v", size, before, now)
		}
		if _, err := s.Recount(); err != nil {
			t.Error(err)
		}
		for slab, problem := range s.Validate() {
			t.Errorf("%#x: %s", slab, problem)
		}
		// A stale pointer into the page: an object that was freed twice had it before.
		if size < mem.PageSize/2 {
			stale := unsafe.Add(alone[0], size)
			s.Free(stale)
			s.FreeBulk([]unsafe.Pointer{stale})
			if len(freed) != 0 || len(s.doubleFrees) != 2 {
				t.Errorf("size %d: %#x were freed, %#x reported for %p", size, freed, s.doubleFrees, stale)
			}
		}
		s.Free(alone[0])
		s.FreeBulk(append([]unsafe.Pointer{alone[1], objs[0], alone[2]}, objs[1:50]...))
		s.FreeBulk(objs[50:])
		if len(freed) != 3 {
			t.Errorf("size %d: %d of 3 frees were told", size, len(freed))
		}
		if now := s.NodeStats(0); now.Slabs > before.Slabs {
			t.Errorf("size %d: %+v, at the end %+v", size, before, now)
		}
		if left := s.Shrink(); left != 0 {
			t.Errorf("size %d: %d slabs are left", size, left)
		}
	}
}

// The first page of a slab that has gone back is now a slab with an object that is alone, and its
// second page is free. An object of the second page that is freed once more is of no slab.
func TestFreeBesideAlone(t *testing.T) {
	r := open(t, 64, Config{Order: 1, MinPartial: arena.None})
	ps := r.take(r.perSlab)
	head := r.slabOf(uintptr(ps[0])).addr
	stale := mem.Ptr(head + mem.PageSize)
	r.free(ps...)
	p, err := r.TakeAlone(0)
	if err != nil {
		t.Fatal(err)
	}
	if uintptr(p) != head {
		t.Fatalf("the arena has given the page at %p first, not that at %#x", p, head)
	}
	r.Free(stale)
	r.FreeBulk([]unsafe.Pointer{stale})
	if !r.Alone(p) || len(r.damages) != 2 || !r.damages[0].Gone || !r.damages[1].Gone {
		t.Errorf("the object at %p is in use: %v; reported is %+v", p, r.Alone(p), r.damages)
	}
	r.Free(p)
}

// While a grace period does not end, an object that is alone gets the slab of one that was freed
// before. A refill does not get it.
func TestAloneIsUsedAgain(t *testing.T) {
	r, g := openTypesafe(t, Config{})
	var at unsafe.Pointer
	for i := range 100 {
		p, err := r.TakeAlone(0)
		if err != nil {
			t.Fatal(err)
		}
		if at != nil && p != at || !r.Alone(p) {
			t.Fatalf("object %d is at %p, alone: %v, the one before was at %p", i, p, r.Alone(p), at)
		}
		at = p
		r.state("with an object alone", 1, 0)
		r.Free(p)
	}
	r.state("after all frees", 0, 1)
	ps := r.take(r.perSlab)
	for _, p := range ps {
		if uintptr(p)&^(mem.PageSize-1) == uintptr(at) {
			t.Errorf("a refill has got %p, in a slab of one object", p)
		}
	}
	r.state("after a refill", 1, 1)
	for g.end() > 0 {
	}
	r.state("after the grace period", 1, 0)
	r.free(ps...)
}
