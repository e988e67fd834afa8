package percpu

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Per-CPU memory. An area has a row for every CPU number that the kernel could show, and
// all rows are laid out alike: a cell is the same few lines of each row, named by its
// address in CPU 0's (kernel: struct pcpu_chunk, mm/percpu.c). What one CPU uses of all
// caches thus lies side by side in pages of its own. With pages for each cache, as it
// was first, the hot lines of all caches began at the same offset in a page: they shared
// one set of the L1 cache, which has room for eight to twelve lines, and took an entry of
// the TLB each.
const (
	rowShift  = 16 // the assembly scales a CPU number by it
	rowSize   = 1 << rowShift
	cellSize  = 256 // bytes; a slot's two stacks, or a cache's counters
	pageCells = mem.PageSize / cellSize
	rowCells  = rowSize / cellSize
)

// guards is how many rows lie in front of CPU 0's, always zeroed. The kernel's number
// for a CPU is -1 on a thread that has not registered for rseq and -2 on one that
// could not: its sequences end up there, are refused, and need no test for it.
const guards = 2

// rows is how many rows an area has: for every number that the kernel could show, not only
// for the CPUs that are possible, since the sequences don't compare. A row without a CPU
// stays zeroed, and takes no memory.
func rows() int { return max(NumCPU(), kernelCPUs) + guards }

// areas hands out cells. They are never handed out again: a goroutine that uses a closed
// cache must meet zeroes, not another cache's objects.
var areas = struct {
	mu   sync.Mutex
	last uintptr              // address of the area with cells left, in its first row; 0 for none
	next uintptr              // offset of the first of them in a row
	made int                  // cells handed out
	gone int                  // of them, those given up
	dead map[uintptr]deadPage // by address in CPU 0's row
}{dead: make(map[uintptr]deadPage)}

// A deadPage is a page with cells that were given up, a bit for each.
type deadPage struct {
	cells  uint16
	stacks uint16 // of these, those of slots
}

// Cells returns how many cells are in use: handed out and not given up.
func Cells() int {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	return areas.made - areas.gone
}

// newCells returns n zeroed cells that lie side by side, at most rowCells. Their pages are
// there, so that no operation finds one missing. What they leave of an area is lost. The
// error is sys.Reserve's.
func newCells(n int) (addr uintptr, err error) {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	size := uintptr(n) * cellSize
	if areas.last == 0 || areas.next+size > rowSize {
		addr, err := Reserve(uintptr(rows()) << rowShift)
		if err != nil {
			return 0, fmt.Errorf("per-CPU memory: %w", err)
		}
		areas.last, areas.next = addr, 0
	}
	first := areas.last + areas.next
	for page := mem.AlignUp(first, mem.PageSize); page < first+size; page += mem.PageSize {
		touchRows(page)
	}
	areas.next += size
	areas.made += n
	return first + guards<<rowShift, nil
}

// touchRows has the kernel put a page in its place in each row.
func touchRows(page uintptr) {
	for row := range uintptr(guards) { // a look maps the page of zeroes, which is no memory
		atomic.LoadUint64(mem.At[uint64](page + row<<rowShift))
	}
	for cpu := range NumCPU() {
		*mem.At[uint64](page + uintptr(guards+cpu)<<rowShift) = 0
	}
}

// killCell gives up a cell whose words have been cleared. The pages go back to the kernel
// with their last cell; the error is sys.Discard's.
//
// Somebody who still uses closed slots may hold the lock of one of their stacks, even now:
// the gate must not open under him by its page's becoming zeroes. So that is done with all
// locks in it held. Nobody else ever holds two, and a holder waits for nothing.
func killCell(addr uintptr, stacks bool) error {
	dead := bury(addr, stacks)
	if dead.cells != 1<<pageCells-1 {
		return nil
	}
	for cpu := range NumCPU() {
		if err := dead.discard(addr&^(mem.PageSize-1), cpu); err != nil {
			return err
		}
	}
	return nil
}

// bury notes that a cell is given up, and returns all of its page that are.
func bury(addr uintptr, stacks bool) deadPage {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	page := addr &^ (mem.PageSize - 1)
	cell := uint16(1) << (addr % mem.PageSize / cellSize)
	dead := areas.dead[page]
	if invariants.Enabled {
		invariants.Check(dead.cells&cell == 0, "cell %#x is given up twice", addr)
	}
	areas.gone++
	dead.cells |= cell
	if stacks {
		dead.stacks |= cell
	}
	areas.dead[page] = dead
	if dead.cells == 1<<pageCells-1 {
		delete(areas.dead, page)
	}
	return dead
}

// discard gives one CPU's page back, which unlocks the stacks in it.
func (d deadPage) discard(page uintptr, cpu int) error {
	var held []*Stack
	for i := range uintptr(pageCells) {
		if d.stacks&(1<<i) != 0 {
			s := Slots{page + i*cellSize}
			held = append(held, s.LockCPU(cpu, Main), s.LockCPU(cpu, RCU))
		}
	}
	err := sys.Discard(page+uintptr(cpu)<<rowShift, mem.PageSize)
	if err != nil { // the page is as it was
		for _, st := range held {
			st.Unlock()
		}
	}
	return err
}

// clearWords zeroes a cell, by whole words.
func clearWords(addr uintptr) {
	for cpu := range NumCPU() {
		for off := uintptr(0); off < cellSize; off += 8 {
			mem.Store64(mem.At[uint64](addr+uintptr(cpu)<<rowShift+off), 0)
		}
	}
}
