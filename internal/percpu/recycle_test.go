package percpu

import (
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// TestRecycle: cells that were recycled are handed out again, zeroed, whether their page was
// discarded meanwhile or not; others are not.
func TestRecycle(t *testing.T) {
	var all [pageCells]Counters
	for i, addr := range cells(t, pageCells) {
		all[i] = Counters{addr}
		all[i].Add(3, 7)
	}
	before := Cells()
	for round, freed := range []int{1, pageCells} { // of one cell, of the whole page
		for i := range freed {
			if err := all[i].Free(); err != nil {
				t.Fatal(err)
			}
			all[i].Add(5, 1) // a late operation
		}
		if s, err := NewSlots(); err != nil || s.base == all[0].base {
			t.Fatalf("round %d: %#x was handed out before it was recycled, %v", round, s.base, err)
		}
		for i := range freed {
			all[freed-1-i].Recycle()
		}
		for i := range freed {
			c, err := NewCounters(8)
			if err != nil || c != all[i] {
				t.Fatalf("round %d: %+v was handed out, want %+v, %v", round, c, all[i], err)
			}
			for n := range MaxCounters {
				if got := c.Sum(n); got != 0 {
					t.Errorf("round %d: counter %d of new ones is %d", round, n, got)
				}
			}
			c.Add(1, 1)
			if c.Sum(1) != 1 {
				t.Error("they don't count")
			}
		}
	}
	if now := Cells(); now != before+2 {
		t.Errorf("%d cells in use, want %d", now, before+2)
	}
}

// TestRecycleAdjacent: adjacent slots are handed out again together, and work.
func TestRecycleAdjacent(t *testing.T) {
	slots, err := NewAdjacentSlots(35)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slots {
		if err := s.Free(); err != nil {
			t.Fatal(err)
		}
	}
	RecycleAdjacent(slots)
	again, err := NewAdjacentSlots(35)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range again {
		if s != slots[i] {
			t.Fatalf("slot %d lies at %#x, want %#x", i, s.base, slots[i].base)
		}
		for off := uintptr(0); off < cellSize; off += 8 {
			if word := *mem.At[uint64](s.base + off); word != 0 {
				t.Errorf("slot %d, +%d: %#x", i, off, word)
			}
		}
		st := s.LockCPU(0, Main)
		st.Unlock()
	}
}

// TestNoReuseWhileDiscarding: a cell of a page that is being discarded is not handed out: what its
// new owner writes would be lost.
func TestNoReuseWhileDiscarding(t *testing.T) {
	addrs := cells(t, pageCells)
	for _, addr := range addrs[:pageCells-1] {
		if err := freeCell(addr, false); err != nil {
			t.Fatal(err)
		}
	}
	recycleCells(addrs[0], 1)
	dead := noteDead(addrs[pageCells-1], false)
	if dead.state != pageDiscarding {
		t.Fatalf("%+v", dead)
	}
	if addr, err := newCells(1); err != nil || addr == addrs[0] {
		t.Errorf("%#x was handed out while its page is being discarded, %v", addr, err)
	}
	noteDiscarded(addrs[0] &^ (mem.PageSize - 1))
	if addr, err := newCells(1); err != nil || addr != addrs[0] {
		t.Errorf("%#x was handed out afterwards, want %#x, %v", addr, addrs[0], err)
	}
}

// TestUnpublishedCellsComeBack: a page whose last cell was freed before it was published is not
// taken for one that is being discarded, whose cells would never be handed out again.
func TestUnpublishedCellsComeBack(t *testing.T) {
	addrs := cells(t, pageCells)
	for _, addr := range addrs[:pageCells-1] {
		if err := freeCell(addr, false); err != nil {
			t.Fatal(err)
		}
	}
	Slots{addrs[pageCells-1]}.freeUnpublished()
	recycleCells(addrs[0], 1)
	if addr, err := newCells(1); err != nil || addr != addrs[0] {
		t.Errorf("%#x was handed out, want %#x, %v", addr, addrs[0], err)
	}
}
