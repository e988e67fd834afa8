//go:build linux && !race && !asan

package slab

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// An object that is freed twice may lie in a page without access, as a guarded one does. FreeBulk
// reports it, and reads only what is its slabs' ahead.
func TestReadAheadLeavesForeignPages(t *testing.T) {
	r := open(t, 64, Config{MinPartial: arena.None})
	ps := r.take(2 * r.perSlab)
	stale := ps[0]
	r.free(ps[:r.perSlab]...)
	page := uintptr(stale) &^ (mem.PageSize - 1)
	if err := sys.Protect(page, mem.PageSize, sys.NoAccess); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.Protect(page, mem.PageSize, sys.ReadWrite); err != nil {
			t.Error(err)
		}
	}()
	r.FreeBulk([]unsafe.Pointer{ps[r.perSlab], stale})
	if len(r.damages) != 1 || !r.damages[0].Gone {
		t.Errorf("reported is %+v", r.damages)
	}
	r.free(ps[r.perSlab+1:]...)
}
