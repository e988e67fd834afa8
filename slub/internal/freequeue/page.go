package freequeue

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// A ptrPage is a page of pointers to objects that wait for a grace period together, off-heap
// (kernel: struct kvfree_rcu_bulk_data).
//
//	0 <= n <= PageCap; objs[:n] are set. All have one size, or the page is always emptied in one
//	step, so that bytes/n is exact.
//
// A page that is in no list belongs to the goroutine that took it out. In a nodeQueue it belongs
// to the nodeQueue's mu, except for n and bytes of the first started page, which belong to the
// holder of Queue.reclaiming.
type ptrPage struct {
	next  *ptrPage
	token rcu.Token // of a started page: the grace period to wait for
	n     int
	bytes int64 // charged to the backlog for the objects
	objs  [PageCap]unsafe.Pointer
}

// PageCap is how many objects a page of pointers holds.
const PageCap = (mem.PageSize - 32) / 8

const (
	_ = mem.PageSize - unsafe.Sizeof(ptrPage{})
	_ = unsafe.Sizeof(ptrPage{}) - mem.PageSize
)

// take removes k of the objects, and what is charged for them.
func (p *ptrPage) take(k int) (objs []unsafe.Pointer, bytes int64) {
	if bytes = p.bytes; k < p.n {
		bytes = bytes / int64(p.n) * int64(k)
	}
	p.n -= k
	p.bytes -= bytes
	return p.objs[p.n : p.n+k], bytes
}

// A pagePool lends pages to all queues of the process. It keeps a few that came back. Its reserve
// is there from the start, for when no page can be mapped: static memory of the program.
//
//	kept <= keptPerCPU * CPUs = length of free
type pagePool struct {
	mu           lock.Mutex
	free         *ptrPage
	kept         int
	reserve      *ptrPage // pages of the static reserve that are not lent
	inited       bool     // the reserve's pages have been put in the list
	reserveInUse int      // pages of the static reserve that are lent
}

var pages pagePool

// keptPerCPU is how many pages per CPU the pool keeps (kernel: rcu_min_cached_objs).
const keptPerCPU = 5

// reserve is the memory of the pool's reserve.
var reserve [ReservePages]ptrPage

// ReservePages is how many pages the static reserve has.
const ReservePages = 4

// get returns an empty page, or nil if there is no memory for one. The caller holds no lock that
// others wait for.
func (pp *pagePool) get() *ptrPage {
	if p := pp.pop(&pp.free); p != nil {
		return p
	}
	if addr, err := percpu.Reserve(mem.PageSize); err == nil {
		return mem.At[ptrPage](addr)
	}
	return pp.pop(&pp.reserve)
}

// pop takes the first page of a list.
func (pp *pagePool) pop(list **ptrPage) *ptrPage {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if !pp.inited {
		pp.inited = true
		for i := range reserve {
			reserve[i].next, pp.reserve = pp.reserve, &reserve[i]
		}
	}
	p := *list
	if p == nil {
		return nil
	}
	*list, p.next = p.next, nil
	if list == &pp.free {
		pp.kept--
	} else {
		pp.reserveInUse++
	}
	return p
}

// put takes an empty page back.
func (pp *pagePool) put(p *ptrPage) {
	if invariants.Enabled {
		invariants.Check(p.n == 0 && p.bytes == 0 && p.next == nil, "a page comes back with %d objects, %d bytes", p.n, p.bytes)
	}
	pp.mu.Lock()
	switch {
	case isReserve(p):
		p.next, pp.reserve = pp.reserve, p
		pp.reserveInUse--
	case pp.kept < keptPerCPU*percpu.NumCPU():
		p.next, pp.free = pp.free, p
		pp.kept++
	default:
		pp.mu.Unlock()
		// Fails only for addresses that were never mapped.
		_ = percpu.Unreserve(uintptr(unsafe.Pointer(p)), mem.PageSize)
		return
	}
	pp.mu.Unlock()
}

func isReserve(p *ptrPage) bool {
	return uintptr(unsafe.Pointer(p))-uintptr(unsafe.Pointer(&reserve)) < unsafe.Sizeof(reserve)
}

// ReserveInUse returns how many pages of the static reserve are lent. For tests.
func ReserveInUse() int {
	pages.mu.Lock()
	defer pages.mu.Unlock()
	return pages.reserveInUse
}

// A Hoard is pages that a test has taken from the pool, so that queues find none. The test also
// has the kernel refuse new ones.
type Hoard struct{ pages []*ptrPage }

// Take takes a page and reports whether there was one.
func (h *Hoard) Take() bool {
	p := pages.get()
	if p == nil {
		return false
	}
	h.pages = append(h.pages, p)
	return true
}

// Give gives n of the pages back, or all if it has fewer.
func (h *Hoard) Give(n int) {
	for ; n > 0 && len(h.pages) > 0; n-- {
		last := len(h.pages) - 1
		pages.put(h.pages[last])
		h.pages = h.pages[:last]
	}
}

// Count returns how many pages the hoard has, and how many of them are of the reserve.
func (h *Hoard) Count() (all, ofReserve int) {
	for _, p := range h.pages {
		if isReserve(p) {
			ofReserve++
		}
	}
	return len(h.pages), ofReserve
}
