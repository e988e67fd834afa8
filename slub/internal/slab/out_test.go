package slab

import (
	"testing"

	"github.com/slubd/slubd/arena"
)

// Close looks for objects in use while the program may still free some. A slab that was found may
// have gone back to the arena by then, and be a slab of another cache, with more objects. That is
// noticed under the node's lock.
func TestOutOfSlabThatHasGone(t *testing.T) {
	a := newArena(t, arena.Config{})
	large := open(t, 2048, Config{Arena: a, MinPartial: arena.None})
	little := open(t, 8, Config{Arena: a, ID: 2, MinPartial: arena.None})
	p := large.take(1)[0]
	r := large.slabOf(uintptr(p))
	w := outWalk{}
	if !large.outOf(&w, r, 0, false) || len(w.out) != 1 || w.out[0] != uintptr(p) {
		t.Errorf("%#x are out, want %p", w.out, p)
	}
	large.free(p)
	q := little.take(1)[0]
	if little.slabOf(uintptr(q)).page != r.page {
		t.Fatalf("the slab at %p is not the one that has gone", q)
	}
	if !large.outOf(&w, r, 0, false) || len(w.out) != 0 {
		t.Errorf("%#x are out of a slab that is another cache's", w.out)
	}
	for obj := range large.InUse() {
		t.Errorf("%#x is in use", obj)
	}
	little.free(q)
}
