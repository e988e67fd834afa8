//go:build linux && !race && !asan && !invariants

package slab

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// resident returns how many of a slab's pages were touched. Builds with a sanitizer have arenas of
// other memory, and those with invariants read clean runs.
func resident(t *testing.T, r Ref) (pages int) {
	t.Helper()
	marks := make([]byte, r.pages)
	if _, _, e := syscall.Syscall(syscall.SYS_MINCORE, r.addr, r.Bytes(), uintptr(unsafe.Pointer(&marks[0]))); e != 0 {
		t.Fatal(e)
	}
	for _, m := range marks {
		pages += int(m & 1)
	}
	return pages
}

// A new slab has no page before its objects are used. touchPages brings them all, and changes none.
func TestNewSlabHasNoPages(t *testing.T) {
	r := open(t, 64, Config{Order: 3})
	p := r.take(1)[0]
	ref := r.slabOf(uintptr(p))
	r.free(r.take(5)...)
	if n := resident(t, ref); n != 1 {
		t.Errorf("%d pages are resident, want that of the freed objects", n)
	}
	last := mem.At[uint64](ref.addr + ref.Bytes() - 64)
	*last = 1
	r.touchPages(ref)
	if n := resident(t, ref); n != int(ref.pages) || *last != 1 {
		t.Errorf("%d of %d pages are resident, the last begins with %d", n, ref.pages, *last)
	}
	r.free(p)
}

// TestNUMANewSlabIsTouched: where the kernel refuses to place memory, a new slab's pages come from
// the node of the CPU that makes it. With one node there is nothing to place.
func TestNUMANewSlabIsTouched(t *testing.T) {
	topology := numa.System()
	for i, node := range topology.Nodes() {
		if topology.NodeCount() < 2 || !topology.HasMemory(node) {
			continue
		}
		undo := sys.FailNth(sys.CallMbind, 0, syscall.EPERM)
		r := open(t, 64, Config{Order: 3, Arena: newArena(t, arena.Config{Observe: arena.None})})
		undo()
		if e := r.arena.PlacementError(i); e == nil || !e.FirstTouch {
			t.Fatalf("node %d: the kernel refuses to place memory, and the arena says %v", node, e)
		}
		ps := r.takeFrom(i, 1, true)
		if ref := r.slabOf(uintptr(ps[0])); resident(t, ref) != int(ref.pages) {
			t.Errorf("node %d: %d of %d pages are resident", node, resident(t, ref), ref.pages)
		}
		r.free(ps...)
	}
}
