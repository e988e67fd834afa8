package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// TestFilter compares the answer for every offset with that of a division.
func TestFilter(t *testing.T) {
	owners := []owner.Word{testOwn, testOwn, testOwn, testOwn, 0, 0, 0, 0}
	step := uintptr(8)
	if testing.Short() {
		step = 56
	}
	for _, order := range []int{0, 2} {
		bytes := uintptr(mem.PageSize) << order
		for slot := uintptr(8); slot <= bytes; slot += step {
			perSlab := int(bytes / slot)
			f := NewFilter(1<<40, 8, unsafe.Pointer(&owners[0]), slot, perSlab, order)
			for off := uintptr(0); off < bytes; off++ {
				want := owner.Word(0)
				if off%slot == 0 && off/slot < uintptr(perSlab) {
					want = testOwn
				}
				if got := f.Owner(mem.Ptr(1<<40 + off)); got != want {
					t.Fatalf("slot %d of order %d: owner at +%d is %#x, want %#x", slot, order, off, got, want)
				}
			}
		}
	}
	f := NewFilter(1<<40, 8, unsafe.Pointer(&owners[0]), 64, 64, 0)
	for name, addr := range map[string]uintptr{"below": 1<<40 - 64, "above": 1<<40 + 8*mem.PageSize, "nil": 0, "no owner": 1<<40 + 5*mem.PageSize} {
		if got := f.Owner(mem.Ptr(addr)); got != 0 {
			t.Errorf("%s: owner %#x", name, got)
		}
	}
	none := f.RejectAll()
	if none.Owner(mem.Ptr(1<<40)) != 0 || f.Owner(mem.Ptr(1<<40)) != testOwn {
		t.Error("RejectAll accepts an object, or has changed its receiver")
	}
	ps := []unsafe.Pointer{mem.Ptr(1 << 40), mem.Ptr(1<<40 + 64), mem.Ptr(1<<40 + 65), mem.Ptr(1 << 40)}
	if n := f.Prefix(ps, testOwn); n != 2 {
		t.Errorf("prefix of %d objects, want 2", n)
	}
}
