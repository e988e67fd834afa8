package percpu

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Per-CPU memory. An area has a row for every CPU number that the kernel could show, and all rows
// have the same layout: a cell is the same few cache lines of each row, named by its address in
// CPU 0's row (kernel: struct pcpu_chunk, mm/percpu.c). So what one CPU uses of all caches lies
// side by side in pages of that CPU. With pages for each cache, the hot lines of all caches would
// begin at the same offset in a page: they would share one set of the L1 cache, which has room for
// eight to twelve lines, and each would take an entry of the TLB.
const (
	rowShift  = 16 // the assembly scales a CPU number by it
	rowSize   = 1 << rowShift
	cellSize  = 256 // bytes; a slot's two stacks, or a cache's counters
	pageCells = mem.PageSize / cellSize
	rowCells  = rowSize / cellSize
)

// guards is how many rows lie in front of CPU 0's. They are always zeroed. The kernel shows CPU
// number -1 on a thread that has not registered for rseq, and -2 on one that could not register.
// The thread's sequences then find a guard, which refuses them, and need no test of the number.
const guards = 2

// rows is how many rows an area has: those in front of CPU 0's, and one for every number that a
// kernel could show, not only for the possible CPUs, since the sequences don't compare the number.
// That is not only what this kernel shows: a process may be restored on a larger machine. A row
// without a CPU stays zeroed, and so refuses every operation: it is read-only, and takes no memory.
//
// Where the process's addresses are limited (RLIMIT_AS) there are rows for this kernel's numbers
// only.
func rows() int {
	n := max(NumCPU(), kernelCPUs)
	if maxCPUs > n && !sys.AddressesLimited() {
		n = maxCPUs
	}
	return front() + n
}

// areas hands out cells. A goroutine that uses a closed cache must find zeroes, not another cache's
// objects: a freed cell is handed out again only after Recycle, see recycle.go.
var areas = struct {
	mu       sync.Mutex
	last     uintptr              // address of the first row of the area with cells left; 0: none
	next     uintptr              // offset in a row of the first cell left
	made     int                  // cells handed out for the first time
	freed    int                  // cells freed and not handed out again
	dead     map[uintptr]deadPage // pages with freed cells, by address in CPU 0's row
	recycled map[int][]uintptr    // adjacent cells that may be handed out again, by their number
	onlyNew  bool                 // none of these is handed out; see OnlyNewCells
}{dead: make(map[uintptr]deadPage), recycled: make(map[int][]uintptr)}

// A deadPage notes the freed cells of a page, one bit for each cell.
type deadPage struct {
	cells  uint16
	stacks uint16 // freed cells that were slots
	state  pageState
}

// A pageState says what has become of a page all of whose cells were freed.
type pageState uint8

const (
	pageInUse      pageState = iota // some cell of it is not freed
	pageDiscarding                  // it is being discarded: no cell of it may be handed out
	pageDiscarded                   // it has to be mapped again
)

const allCells = 1<<pageCells - 1

// Cells returns how many cells are in use: handed out and not freed.
func Cells() int {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	return areas.made - areas.freed
}

// NewCells returns how many cells were handed out for the first time. For tests that look that
// cells are used again.
func NewCells() int {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	return areas.made
}

// newCells returns n zeroed adjacent cells, at most rowCells. It touches no page of theirs: a CPU's
// part of a cell takes memory from its first use on, and the page then comes from the CPU's own
// node. A sequence that takes a page fault is restarted if the kernel interrupts it meanwhile, and
// goes on otherwise. If the last area has too little room for the cells, its rest is lost. The
// error is sys.Reserve's.
func newCells(n int) (addr uintptr, err error) {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	if addr := reuseCells(n); addr != 0 {
		return addr, nil
	}
	size := uintptr(n) * cellSize
	if areas.last == 0 || areas.next+size > rowSize {
		addr, err := newArea()
		if err != nil {
			return 0, fmt.Errorf("per-CPU memory: %w", err)
		}
		areas.last, areas.next = addr, 0
	}
	first := areas.last + areas.next
	areas.next += size
	areas.made += n
	return first + uintptr(front())<<rowShift, nil
}

// newArea maps an area. Only the rows of marks and of CPUs are writable, so that the others count
// against no limit, and mlockall(MCL_FUTURE) doesn't make them resident. For the same reason the
// area is mapped without access first, see sys.ReserveAs. It has no huge pages: one would hold the
// rows of 32 CPUs, used or not, all of them on the node of the first that is. The error is
// sys.Reserve's or sys.Protect's.
func newArea() (addr uintptr, err error) {
	n := uintptr(rows()) << rowShift
	addr, err = sys.ReserveAs(n, sys.NoAccess)
	if err != nil {
		return 0, err
	}
	_ = sys.AdviseHuge(addr, n, false) // not all kernels have huge pages
	err = sys.Protect(addr, n, sys.ReadOnly)
	if err == nil {
		err = sys.Protect(addr+uintptr(front())<<rowShift, uintptr(NumCPU())<<rowShift, sys.ReadWrite)
	}
	if err == nil {
		err = sys.Protect(addr, uintptr(markRows())<<rowShift, sys.ReadWrite)
	}
	if err != nil {
		return 0, errors.Join(err, sys.Unmap(addr, n))
	}
	_ = sys.SetName(addr, n, "slubd: per-CPU memory") // not all kernels have names
	return addr, nil
}

// freeCell frees a cell whose words have been cleared. With the last cell of a page the CPUs'
// pages go back to the kernel; the error is sys.Discard's.
//
// A late operation on closed slots may still hold the lock of one of their stacks. A page that
// becomes zeroes opens all gates in it, which must not happen to a gate that is held. So the page
// is discarded with all locks in it held. No other code holds two of them, and their holders wait
// for nothing.
func freeCell(addr uintptr, stacks bool) error {
	dead := noteDead(addr, stacks)
	if dead.state != pageDiscarding {
		return nil
	}
	page := addr &^ (mem.PageSize - 1)
	defer noteDiscarded(page)
	return dead.discard(page)
}

// noteDiscarded lets the cells of a page be handed out again, mapped or not.
func noteDiscarded(page uintptr) {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	dead := areas.dead[page]
	dead.state = pageDiscarded
	areas.dead[page] = dead
}

// noteDead notes that a cell is freed, and returns all freed cells of its page.
func noteDead(addr uintptr, stacks bool) deadPage {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	page := addr &^ (mem.PageSize - 1)
	cell := uint16(1) << (addr % mem.PageSize / cellSize)
	dead := areas.dead[page]
	if invariants.Enabled {
		invariants.Check(dead.cells&cell == 0, "cell %#x is freed twice", addr)
	}
	areas.freed++
	dead.cells |= cell
	if stacks {
		dead.stacks |= cell
	}
	if dead.cells == allCells {
		dead.state = pageDiscarding
	}
	areas.dead[page] = dead
	return dead
}

// discard returns the page of every CPU that has used it to the kernel, which unlocks the stacks in
// it.
func (d deadPage) discard(page uintptr) error {
	cpus := markedInPage(page)
	var held []place
	for _, cpu := range cpus {
		for i := range uintptr(pageCells) {
			if d.stacks&(1<<i) != 0 {
				s := Slots{base: page + i*cellSize}
				held = append(held, place{s, cpu, Main}, place{s, cpu, RCU})
			}
		}
	}
	lockPlaces(held)
	perCPU := len(held) / max(1, len(cpus))
	for i, cpu := range cpus {
		if err := sys.Discard(page+uintptr(cpu)<<rowShift, mem.PageSize); err != nil {
			for _, p := range held[i*perCPU:] { // their pages are as they were
				p.stack().Unlock()
			}
			return err
		}
	}
	return nil
}

// clearWords zeroes a cell word by word, each by one store. It writes to no page whose words are
// zero already, which may take no memory.
func clearWords(addr uintptr) {
	for cpu := range marked(addr) {
		for off := uintptr(0); off < cellSize; off += 8 {
			if word := mem.At[uint64](addr + uintptr(cpu)<<rowShift + off); atomic.LoadUint64(word) != 0 {
				mem.Store64(word, 0)
			}
		}
	}
}
