package percpu

import (
	"encoding/binary"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// pages tells which pages of the process take memory (Linux, admin-guide/mm/pagemap.rst).
type pages struct{ pagemap *os.File }

func openPages(t *testing.T) pages {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return pages{f}
}

// takesMemory reports whether the page at addr has memory of its own, in RAM or swapped out. The
// kernel's shared page of zeroes is not its own.
func (p pages) takesMemory(t *testing.T, addr uintptr) bool {
	t.Helper()
	const exclusive, swapped = 1 << 56, 1 << 62
	var entry [8]byte
	if _, err := p.pagemap.ReadAt(entry[:], int64(addr/mem.PageSize*8)); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(entry[:])&(exclusive|swapped) != 0
}

// readsTakeMemory reports whether the kernel gives memory to a page that is only read, having no
// shared page of zeroes for it, as some kernels of virtual machines.
func (p pages) readsTakeMemory(t *testing.T) bool {
	page := offHeap(t, mem.PageSize)
	atomic.LoadUint64(mem.At[uint64](page))
	return p.takesMemory(t, page)
}

// TestUnusedCPUsTakeNoMemory: a cell takes memory for the CPUs that use it, and only for them, also
// when all CPUs are read, and when it is freed and handed out again.
func TestUnusedCPUsTakeNoMemory(t *testing.T) {
	pages := openPages(t)
	all := cells(t, pageCells)
	slots, counters := Slots{all[0]}, Counters{all[1]}
	resident := func() (cpus []int) {
		for cpu := range NumCPU() {
			if pages.takesMemory(t, all[0]+uintptr(cpu)<<rowShift) {
				cpus = append(cpus, cpu)
			}
		}
		return cpus
	}
	if cpus := resident(); len(cpus) > 0 {
		t.Errorf("unused cells take memory on CPUs %v", cpus)
	}
	const user = 0
	slots.LockCPU(user, Main).Unlock()
	setMark(counters.base, user)
	atomic.AddUint64(counters.row(user, 0), 7)
	if sum := counters.Sum(0); sum != 7 {
		t.Errorf("counted 7, the sum is %d", sum)
	}
	if cpus := slices.Collect(slots.CPUs()); !slices.Equal(cpus, []int{user}) {
		t.Errorf("CPUs %v have used the slots", cpus)
	}
	if cpus := resident(); !slices.Equal(cpus, []int{user}) {
		t.Errorf("CPUs %v take memory, CPU %d has used the cells", cpus, user)
	}
	if err := slots.Free(); err != nil {
		t.Fatal(err)
	}
	if err := counters.Free(); err != nil {
		t.Fatal(err)
	}
	for _, cell := range all[2:] {
		if err := freeCell(cell, false); err != nil {
			t.Fatal(err)
		}
	}
	if cpus := resident(); len(cpus) > 0 {
		t.Errorf("freed cells take memory on CPUs %v", cpus)
	}
	counters.Recycle()
	again, err := NewCounters(1)
	if err != nil || again != counters {
		t.Fatalf("%+v was handed out, want %+v, %v", again, counters, err)
	}
	if cpus := resident(); len(cpus) > 0 && !pages.readsTakeMemory(t) {
		t.Errorf("cells that were handed out again take memory on CPUs %v", cpus)
	}
	if cpus := slices.Collect(marked(again.base)); len(cpus) > 0 {
		t.Errorf("CPUs %v have used a cell that was just handed out", cpus)
	}
}

// TestDeadCellsCostNothing: neither the CPUs' rows nor the guards in front of them keep memory for
// the pages of cells that were freed.
func TestDeadCellsCostNothing(t *testing.T) {
	pages := openPages(t)
	guardsTakeMemory := pages.readsTakeMemory(t)
	cells(t, 0) // begins an area
	noted := func() int {
		areas.mu.Lock()
		defer areas.mu.Unlock()
		return len(areas.dead)
	}
	atFirst := noted() // by other tests
	var freed []uintptr
	for i := range 3 * rowCells {
		c, err := NewCounters(1)
		if err != nil {
			t.Fatal(err)
		}
		for cpu := range NumCPU() {
			setMark(c.base, cpu)
			atomic.AddUint64(c.row(cpu, 0), 1)
			if !pages.takesMemory(t, c.base+uintptr(cpu)<<rowShift) {
				t.Fatalf("cell %d in use takes no memory for CPU %d", i, cpu)
			}
		}
		if err := c.Free(); err != nil {
			t.Fatal(err)
		}
		freed = append(freed, c.base)
	}
	for i, cell := range freed {
		for cpu := -guards; cpu < NumCPU(); cpu++ {
			if cpu < 0 && guardsTakeMemory {
				continue
			}
			if pages.takesMemory(t, cell+uintptr(cpu)<<rowShift) {
				t.Errorf("freed cell %d keeps memory for CPU %d", i, cpu)
			}
		}
	}
	// What is noted of pages is bounded by how many cells were ever in use at a time.
	if n := noted() - atFirst; n > (len(freed)+pageCells)/pageCells+64 {
		t.Errorf("%d pages are noted for %d freed cells", n, len(freed))
	}
	before := noted()
	for range 3 * rowCells {
		c, err := NewCounters(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Free(); err != nil {
			t.Fatal(err)
		}
		c.Recycle()
	}
	if n := noted(); n > before+1 {
		t.Errorf("%d pages are noted after one cell came and went, before %d", n, before)
	}
	if _, err := NewCounters(1); err != nil { // takes the recycled one
		t.Error(err)
	}
}
