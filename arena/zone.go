package arena

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// zone is one node's part of the range: a binary buddy allocator over pages
// [first, bump), and beyond bump pages never touched, of which those below
// writable can be.
//
//	used + free[clean].pages + free[dirty].pages + leaving = bump - first
//	bump - first is a multiple of the largest run, and bump <= writable <= end
//	no two free blocks of one kind and order are buddies of each other
//
// Clean and dirty blocks never merge with each other: a merged block would
// have to count as dirty, and then one touched page would make 4 MiB of
// untouched ones count against the limit and be discarded in vain. What they
// can't form together, Alloc makes them form by discarding the dirty part.
type zone struct {
	mu sync.Mutex // guards all down to placement; only nodeLedger.mu is locked under it

	free    [2]freeArea // indexed by pageState.area
	births  uint64      // number of blocks that ever came into a list, to tell old from young
	idle    idle        // how many of the dirty pages are idle
	bump    uint32      // first page never carved; only grows
	used    uint32      // pages of allocated runs
	leaving uint32      // pages of blocks being discarded, in no list
	runs    uint32      // number of allocated runs
	ahead   bool        // a goroutine is about to make the next pages writable
	refused bool        // the kernel refused to do so the last time
	closed  bool        // the range may belong to another arena by now

	placement string // how the kernel places the zone's pages

	excluded atomic.Bool // the cpuset excludes the node, and nothing else will do

	growing  sync.Mutex // held while pages become writable; mu is locked under it, see grow.go
	writable uint32     // first page that is not writable; written with both locks held
	mapped   uint32     // the page map can be written below this page; guarded by growing
	readable uint32     // arenas that had the range before carved below this page

	small uint32 // pages below this one stay small, see keepSmall; guarded by Arena.purging

	// Set by New and never changed.
	pages      *pagemap
	first, end uint32 // page numbers
	node       numa.Node
	home       *nodeLedger         // for the memory that the pages lie in
	granted    bool                // the kernel accepted the policy in New
	_          [mem.CacheLine]byte // keeps the next zone's mu on another line
}

// freeArea holds the free blocks of one kind, by order.
type freeArea struct {
	orders uint32 // bit k: lists[k] is not empty
	pages  uint32 // pages of all blocks in the lists
	lists  [MaxOrder + 1]list
}

// bytes is the size of the zone's part of the range.
func (z *zone) bytes() uintptr { return uintptr(z.end-z.first) * mem.PageSize }

// area is the index in zone.free of the blocks of kind clean or dirty.
func (s pageState) area() int { return int(s>>4) - 1 }

// carve turns untouched pages into one clean block of the largest order, and reports whether there
// were writable ones left.
func (z *zone) carve() bool {
	if z.bump == z.writable {
		return false
	}
	z.link(z.bump, clean|MaxOrder)
	z.bump += 1 << MaxOrder
	return true
}

// take removes that many pages of the kind from the lists: the first ones of a block of the next
// power of two. It splits the smallest block that is large enough, takes the lower half and leaves
// the upper. What it leaves merges with nothing, since the buddy of each part has pages that are
// taken.
func (z *zone) take(kind pageState, pages uint32) (page uint32, ok bool) {
	area, order := &z.free[kind.area()], orderOf(pages)
	fit := area.orders >> order
	if fit == 0 {
		return 0, false
	}
	from := order + bits.TrailingZeros32(fit)
	page = area.lists[from].head()
	z.unlink(page, kind|pageState(from))
	for from > order {
		from--
		z.link(page+1<<from, kind|pageState(from))
	}
	for rest, order := range blocks(page+pages, page+1<<order) {
		z.link(rest, kind|pageState(order))
	}
	if kind == dirty {
		z.idle.noteTaken(area.pages)
	}
	return page, true
}

// put adds a free block to the lists, merged with its buddies of the same kind. If the buddy's
// first page is free, its byte is that of a head page: the two halves are aligned together, so a
// larger block that held one would hold the other.
func (z *zone) put(page uint32, kind pageState, order int) {
	for order < MaxOrder {
		buddy := page ^ 1<<order
		if z.pages.state(buddy) != kind|pageState(order) {
			break
		}
		z.unlink(buddy, kind|pageState(order))
		page &^= 1 << order
		order++
	}
	z.link(page, kind|pageState(order))
}

// hand marks pages taken from the lists as an allocated run.
func (z *zone) hand(page, pages uint32) {
	z.pages.markRun(page, pages, used|pageState(orderOf(pages)))
	z.used += pages
	z.runs++
}

// runAt returns the number of pages of the allocated run at page. If page isn't the head of a run,
// ok is false.
func (z *zone) runAt(page uint32) (pages uint32, ok bool) {
	if page >= z.bump { // never carved, or closed since
		return 0, false
	}
	s := z.pages.state(page)
	if s.kind() != used || page&(1<<s.order()-1) != 0 {
		return 0, false
	}
	return z.pages.runPages(page, s), true
}

// cleanRest returns the number of clean pages behind a run, in the block that the run was cut from;
// 0 unless all of these pages are free.
func (z *zone) cleanRest(page, pages uint32) (n uint32) {
	for rest, order := range blocks(page+pages, page+1<<orderOf(pages)) {
		switch z.pages.state(rest) {
		case clean | pageState(order):
			n += 1 << order
		case dirty | pageState(order):
		default:
			return 0
		}
	}
	return n
}

// dirtyRest makes the clean pages that cleanRest has counted dirty ones.
func (z *zone) dirtyRest(page, pages uint32) {
	for rest, order := range blocks(page+pages, page+1<<orderOf(pages)) {
		if s := clean | pageState(order); z.pages.state(rest) == s {
			z.unlink(rest, s)
			z.link(rest, dirty|pageState(order))
		}
	}
}

// freeRun makes an allocated run of that many pages a dirty block, or several.
func (z *zone) freeRun(page, pages uint32) {
	z.pages.setOwner(page, pages, 0)
	z.pages.markRun(page, pages, inner)
	z.used -= pages
	z.runs--
	for block, order := range blocks(page, page+pages) {
		z.put(block, dirty, order)
	}
	if invariants.Enabled {
		z.checkSums()
	}
}

// detach takes the largest dirty block out of the lists to be discarded, the oldest of that order.
// Until attach, neither take nor put can see it.
func (z *zone) detach() (page uint32, order int, ok bool) {
	order = z.free[dirty.area()].largest()
	if order < 0 {
		return 0, 0, false
	}
	page = z.free[dirty.area()].lists[order].tail()
	z.detachBlock(page, order, order)
	return page, order, true
}

// detachIdle is detach for the oldest dirty block of all orders, or as much of it as is idle. The
// largest would be the wrong one: it may be a run that is allocated and freed all the time, while
// small ones are not needed.
func (z *zone) detachIdle() (page uint32, order int, ok bool) {
	area := &z.free[dirty.area()]
	idle := z.idle.idlePages() // at most what the lists hold
	if idle == 0 {
		return 0, 0, false
	}
	from, oldest := 0, uint64(math.MaxUint64)
	for k := range area.lists {
		if area.orders>>k&1 == 0 {
			continue
		}
		if born := z.pages.link(area.lists[k].tail()).born; born < oldest {
			from, oldest = k, born
		}
	}
	page, order = area.lists[from].tail(), min(from, bits.Len32(idle)-1)
	z.detachBlock(page, from, order)
	return page, order, true
}

// detachBlock takes a dirty block of order from out of its list and detaches its first 1<<order
// pages. The rest stays dirty, as several blocks.
func (z *zone) detachBlock(page uint32, from, order int) {
	z.unlink(page, dirty|pageState(from))
	for from > order {
		from--
		z.link(page+1<<from, dirty|pageState(from))
	}
	z.pages.mark(page, 0, leaving|pageState(order))
	z.leaving += 1 << order
	z.idle.noteDiscarded(1 << order)
}

// detachRun makes an allocated run, which no other goroutine knows of, detached blocks.
func (z *zone) detachRun(page, pages uint32) {
	z.pages.markRun(page, pages, inner)
	for block, order := range blocks(page, page+pages) {
		z.pages.mark(block, 0, leaving|pageState(order))
	}
	z.used -= pages
	z.leaving += pages
	z.runs--
}

// attach returns a detached block to the lists, as clean or, if the kernel kept the pages, as
// dirty.
func (z *zone) attach(page uint32, kind pageState, order int) {
	z.leaving -= 1 << order
	z.pages.mark(page, 0, inner)
	z.put(page, kind, order)
}

// largest is the order of the largest block, or -1.
func (f *freeArea) largest() int { return bits.Len32(f.orders) - 1 }
