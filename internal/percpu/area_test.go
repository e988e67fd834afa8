package percpu

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// cells takes n cells from an area of their own.
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

// TestCellsLieTogether: a CPU's parts of neighbouring cells are neighbours, and no two
// cells share a byte.
func TestCellsLieTogether(t *testing.T) {
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
	if end := addrs[0] + uintptr(rows()-guards)<<rowShift; addrs[all] >= addrs[0] && addrs[all] < end {
		t.Errorf("a cell beyond the row: %#x, the area ends at %#x", addrs[all], end)
	}
}

// TestDeadCells: a cell that was given up reads as zeroes, is not handed out again, and
// takes its page along when it is the page's last.
func TestDeadCells(t *testing.T) {
	addrs := cells(t, pageCells+1)
	discards := 0
	for i, addr := range addrs[:pageCells] {
		words := make([]*uint64, NumCPU())
		for cpu := range words {
			words[cpu] = mem.At[uint64](addr + uintptr(cpu)<<rowShift + cellSize - 8)
			*words[cpu] = 1
		}
		refused := errors.New("refused")
		restore := sys.FailNth(sys.CallDiscard, NumCPU(), refused)
		clearWords(addr)
		err := killCell(addr, false)
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
		t.Errorf("the page went with cell %d of %d; 0 is never", discards, pageCells)
	}
	next, err := newCells(1)
	if err != nil || next != addrs[pageCells]+cellSize {
		t.Errorf("the next cell is %#x, %v, want %#x", next, err, addrs[pageCells]+cellSize)
	}
}

// TestNoMemoryForAnArea: the next call tries again.
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
	if !errors.Is(err1, syscall.ENOMEM) || !errors.Is(err2, syscall.ENOMEM) {
		t.Errorf("errors %v, %v", err1, err2)
	}
	if _, err := NewSlots(); err != nil {
		t.Error(err)
	}
}

// TestDeadCellsCostNothing: neither CPUs' rows nor those in front of them keep pages of
// cells that were given up. Guards that are written take 512 bytes a cell.
func TestDeadCellsCostNothing(t *testing.T) {
	const cells = 40_000
	before, err := sys.ReadRSS()
	if err != nil {
		t.Skip(err)
	}
	for range cells {
		c, err := NewCounters(1)
		if err != nil {
			t.Fatal(err)
		}
		c.Add(0, 1)
		if err := c.Forget(); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := sys.ReadRSS(); after > before+cells*256 {
		t.Errorf("%d cells made and given up: resident %d KiB, then %d", cells, before>>10, after>>10)
	}
}

// TestSlotsRow: slots of a row lie side by side, in groups that fit a CPU's row, and a row
// that can't be had leaves nothing behind.
func TestSlotsRow(t *testing.T) {
	cells(t, rowCells-7) // which leave too few
	row, err := NewSlotsRow(MaxRow + 9)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range row[1:] {
		if side := s.base == row[i].base+cellSize; side != (i+1 != MaxRow) {
			t.Errorf("slots %d and %d lie side by side: %v", i, i+1, side)
		}
	}
	used := Cells()
	defer sys.FailNth(sys.CallReserve, 2, syscall.ENOMEM)()
	if row, err := NewSlotsRow(3 * MaxRow); !errors.Is(err, syscall.ENOMEM) || row != nil {
		t.Errorf("%d slots and %v", len(row), err)
	}
	if now := Cells(); now != used {
		t.Errorf("%d cells in use, before %d", now, used)
	}
}
