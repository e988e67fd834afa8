package slab

import (
	"syscall"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// A run whose fence the kernel does not open is lost to the arena, and is not charged any more.
func TestFenceThatStays(t *testing.T) {
	if !fenceable {
		t.Skip("slabs of this build have no fences")
	}
	charged := int64(0)
	r := open(t, 512, Config{FenceEvery: 1, MinPartial: arena.None,
		Charge:   func(bytes int64) error { charged += bytes; return nil },
		Uncharge: func(bytes int64) { charged -= bytes },
	})
	ps := r.take(1)
	page, before := r.pageOf(ps[0]), fences.Load()
	if charged != 2*mem.PageSize {
		t.Fatalf("%d bytes are charged for a slab of a page and its fence", charged)
	}
	restore := sys.FailNth(sys.CallProtect, 0, syscall.ENOMEM)
	r.free(ps...)
	r.Shrink()
	restore()
	if charged != 0 {
		t.Errorf("%d bytes are charged when no slab is left", charged)
	}
	if _, pages, ok := r.arena.Head(page); !ok || pages != 2 || fences.Load() != before {
		t.Errorf("the arena has a run of %d pages, %v; there are %d fences, want %d", pages, ok, fences.Load(), before)
	}
	if !r.openFence(page, 1) {
		t.Fatal("the fence does not open")
	}
	r.arena.Free(page)
}
