package slub

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// openQuarantine makes a debug cache in which that many objects may wait, and notes its reports.
func openQuarantine(t *testing.T, a *arena.Arena, letters string, wait int) *reportRecorder {
	withoutSamples(t) // it counts objects by where they are
	c := openRecorder(t, a, Config{Name: "late", Size: 64, Debug: letters})
	c.debug().quarantine.limit = uintptr(wait)*c.layout.slot + c.layout.slot - 1
	return c
}

// waiting returns the objects that wait, in their order.
func (c *Cache) waiting() []unsafe.Pointer { return c.quarantined().appendFree(nil) }

// A write through a pointer whose object was freed long ago meets that object, not the one that was
// allocated next, and is reported when the object leaves the quarantine. Without one the next
// allocation has the memory, and nothing is found.
func TestQuarantineFindsLateUse(t *testing.T) {
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	const wait = 8
	c := openQuarantine(t, nil, "FZPUQ", wait)
	ps := take(t, c.Cache, wait+1)
	c.Free(ps[0])
	next := take(t, c.Cache, 1)[0]
	if next == ps[0] {
		t.Fatal("the next allocation has what was just freed")
	}
	*at(ps[0], 20) = 0x12
	freeAll(c.Cache, ps[1:wait])
	if len(c.Reports) != 0 {
		t.Fatalf("reported before it has left: %v", c.Reports)
	}
	c.Free(ps[wait])
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.WriteAfterFree || c.Reports[0].Addr != uintptr(ps[0]) {
		t.Errorf("reported: %v, want a write to %p", c.Reports, ps[0])
	}
	c.Free(next)

	plain := open(t, nil, Config{Size: 64, Debug: "FZPU"})
	p := take(t, plain, 1)[0]
	plain.Free(p)
	if again := take(t, plain, 1)[0]; again != p {
		t.Errorf("without Q the next allocation has %p, not %p", again, p)
	}
	plain.Free(p)
}

// Objects leave in the order in which they came, whatever has freed them, and no more than the
// bound wait.
func TestQuarantineIsBoundedAndInOrder(t *testing.T) {
	const wait = 10
	c := openQuarantine(t, nil, "FQ", wait)
	ps := take(t, c.Cache, 35)
	freed := slices.Clone(ps)
	freeAll(c.Cache, ps[:15])
	c.FreeDeferred(ps[15])
	same(t, "Barrier", c.Barrier(t.Context()), nil)
	c.FreeRCU(ps[16])
	same(t, "Barrier", c.Barrier(t.Context()), nil)
	for i := 17; i < len(ps); i++ {
		if got := c.waiting(); !slices.Equal(got, freed[i-wait:i]) {
			t.Fatalf("%v wait, want %v", got, freed[i-wait:i])
		}
		c.Free(ps[i])
	}
	if s := c.Stats(); s.InUse != 0 {
		t.Errorf("%d objects are in use", s.InUse)
	}
	for o := range c.Live() {
		t.Errorf("%#x is live", o.Addr)
	}
	c.FreeBulk(take(t, c.Cache, 2*wait))
	if n := len(c.waiting()); n != wait {
		t.Errorf("%d objects wait after FreeBulk, want %d", n, wait)
	}
}

// An object that is alone in its slab does not wait, whatever frees it: it would keep a page.
func TestQuarantineTakesNothingAlone(t *testing.T) {
	if sanitized {
		t.Skip("sanitized caches sample nothing")
	}
	c := open(t, nil, Config{Size: 64, Debug: "FZPUQ", ProfileRate: 1})
	for _, free := range []func(unsafe.Pointer){c.Free, c.FreeRCU, c.FreeDeferred, func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) }} {
		p := take(t, c, 1)[0]
		if !c.isAlone(p) {
			t.Fatal("the object is not alone")
		}
		free(p)
		same(t, "Barrier", c.Barrier(t.Context()), nil)
		if n := len(c.quarantined().takeAll(false)); n != 0 {
			t.Errorf("%d objects wait", n)
		}
	}
}

// Shrink and Close let nothing wait, and Close lets no object that is freed afterwards wait.
func TestQuarantineEnds(t *testing.T) {
	c := openQuarantine(t, nil, "FZPUQ", 1000)
	freeAll(c.Cache, take(t, c.Cache, 100))
	if n := len(c.waiting()); n != 100 {
		t.Fatalf("%d objects wait, want 100", n)
	}
	if left := c.Shrink(); left != 0 {
		t.Errorf("%d slabs are left", left)
	}
	ps := take(t, c.Cache, 2)
	c.Free(ps[0])
	same(t, "Close with an object in use", c.Close(), ErrBusy)
	c.Free(ps[1])
	if got := c.waiting(); got != nil {
		t.Errorf("%v wait in a closed cache", got)
	}
	same(t, "Close", c.Close(), nil)
}

// An allocation that would fail takes what waits.
func TestQuarantineEndsUnderPressure(t *testing.T) {
	a := newArena(t, arena.Config{Limit: mib, MaxDirty: mib / 4, Span: 8 * mib})
	c := openQuarantine(t, a, "Q", mem.PageSize*1024)
	ps := fillArena(t, c.Cache)
	freeAll(c.Cache, ps)
	if n := len(c.waiting()); n != len(ps) {
		t.Fatalf("%d of %d objects wait", n, len(ps))
	}
	freeAll(c.Cache, take(t, c.Cache, len(ps)))
}

// Another cache of the arena takes what waits as well.
func TestQuarantineServesOthers(t *testing.T) {
	a := newArena(t, arena.Config{Limit: mib, MaxDirty: mib / 4, Span: 8 * mib})
	c := openQuarantine(t, a, "Q", mem.PageSize*1024)
	freeAll(c.Cache, fillArena(t, c.Cache))
	other := open(t, a, Config{Name: "other", Size: 4096, Debug: "-"})
	freeAll(other, take(t, other, 100))
}
