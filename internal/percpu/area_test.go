package percpu

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// cells takes n cells from a new area.
func cells(t *testing.T, n int) (addrs []uintptr) {
	t.Helper()
	areas.mu.Lock()
	areas.next = rowSize
	areas.mu.Unlock()
	for range n {
		addr, err := newCells(1)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// TestCellsAreAdjacent: a CPU's parts of adjacent cells are adjacent, and no two cells share a
// byte.
func TestCellsAreAdjacent(t *testing.T) {
	const all = rowSize / cellSize
	addrs := cells(t, all+1)
	for i, addr := range addrs[:all] {
		if want := addrs[0] + uintptr(i)*cellSize; addr != want {
			t.Fatalf("cell %d lies at %#x, want %#x", i, addr, want)
		}
		for cpu := range NumCPU() {
			for off := uintptr(0); off < cellSize; off += 8 {
				word := mem.At[uint64](addr + uintptr(cpu)<<rowShift + off)
				if *word != 0 {
					t.Fatalf("cell %d of CPU %d, +%d: %#x", i, cpu, off, *word)
				}
				*word = uint64(i + 1)
			}
		}
	}
	if end := addrs[0] + uintptr(NumCPU())<<rowShift; addrs[all] >= addrs[0] && addrs[all] < end {
		t.Errorf("a cell that no longer fits the row lies at %#x; the area ends at %#x", addrs[all], end)
	}
}

// TestDeadCells: a freed cell reads as zeroes and is not handed out again by itself. With the last
// cell of a page the page is discarded.
func TestDeadCells(t *testing.T) {
	addrs := cells(t, pageCells+1)
	discards := 0
	for i, addr := range addrs[:pageCells] {
		words := make([]*uint64, NumCPU())
		for cpu := range words {
			setMark(addr, cpu)
			words[cpu] = mem.At[uint64](addr + uintptr(cpu)<<rowShift + cellSize - 8)
			*words[cpu] = 1
		}
		refused := errors.New("refused")
		restore := sys.FailNth(sys.CallDiscard, NumCPU(), refused)
		clearWords(addr)
		err := freeCell(addr, false)
		restore()
		if errors.Is(err, refused) {
			discards = i + 1
		}
		for cpu, word := range words {
			if *word != 0 {
				t.Errorf("dead cell %d of CPU %d reads %#x", i, cpu, *word)
			}
		}
	}
	if discards != pageCells {
		t.Errorf("the page was discarded with cell %d of %d; 0 is never", discards, pageCells)
	}
	next, err := newCells(1)
	if err != nil || next != addrs[pageCells]+cellSize {
		t.Errorf("the next cell is %#x, %v, want %#x", next, err, addrs[pageCells]+cellSize)
	}
}

// TestNoMemoryForAnArea: without memory there is an error, and the next call tries again.
func TestNoMemoryForAnArea(t *testing.T) {
	areas.mu.Lock()
	areas.next = rowSize
	areas.mu.Unlock()
	restore := sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
	_, err1 := NewSlots()
	restore()
	restore = sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
	_, err2 := NewCounters(1)
	restore()
	restore = sys.FailNth(sys.CallProtect, 2, syscall.ENOMEM) // the rows of CPUs become writable
	_, err3 := NewSlots()
	restore()
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := NewSlots(); err != nil {
		t.Error(err)
	}
}

// TestAdjacentSlots: slots lie side by side in groups that fit a CPU's row. If there is no memory
// for all of them, none remains in use.
func TestAdjacentSlots(t *testing.T) {
	cells(t, rowCells-7) // the rest of the area is too small for a group
	slots, err := NewAdjacentSlots(MaxAdjacent + 9)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range slots[1:] {
		if adjacent := s.base == slots[i].base+cellSize; adjacent != (i+1 != MaxAdjacent) {
			t.Errorf("slots %d and %d are adjacent: %v", i, i+1, adjacent)
		}
	}
	used := Cells()
	defer sys.FailNth(sys.CallReserve, 2, syscall.ENOMEM)()
	if slots, err := NewAdjacentSlots(3 * MaxAdjacent); !errors.Is(err, syscall.ENOMEM) || slots != nil {
		t.Errorf("%d slots and %v", len(slots), err)
	}
	if now := Cells(); now != used {
		t.Errorf("%d cells in use, before %d", now, used)
	}
}
