package arena

import (
	"math"
	"math/bits"
	"sync"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// zone is one node's part of the range: a binary buddy allocator over pages
// [first, bump), and beyond bump pages never touched.
//
//	used + free[clean].pages + free[dirty].pages + leaving = bump - first
//	bump - first is a multiple of the largest run, and bump <= end
//	no two free blocks of one kind and order are buddies of each other
//
// Clean and dirty blocks never merge with each other: a merged block would
// have to count as dirty, and then one touched page would make 4 MiB of
// untouched ones count against the limit and be discarded in vain. What they
// can't form together, Alloc makes them form by discarding the dirty part.
type zone struct {
	mu sync.Mutex // guards all down to runs; nothing is locked under it

	free    [2]freeArea // indexed by pageState.area
	births  uint64      // blocks that ever came into a list, to tell old from young
	idle    idle        // which part of the dirty pages nobody needs
	bump    uint32      // first page never carved; moves up only
	used    uint32      // pages of allocated runs
	leaving uint32      // pages of blocks being discarded, in no list
	runs    uint32      // allocated runs

	// Set by New and never changed.
	pages      *pagemap
	first, end uint32 // page numbers
	node       numa.Node
	placement  string              // what the kernel made of the wish for the node
	_          [mem.CacheLine]byte // the next zone's mu
}

// freeArea holds the free blocks of one kind, by order.
type freeArea struct {
	orders uint32 // bit k: lists[k] is not empty
	pages  uint32 // pages of all blocks in the lists
	lists  [MaxOrder + 1]list
}

// area is the index in zone.free of the blocks of kind clean or dirty.
func (s pageState) area() int { return int(s>>4) - 1 }

// carve turns untouched pages into one clean block of the largest order, and
// reports whether there were any left.
func (z *zone) carve() bool {
	if z.bump == z.end {
		return false
	}
	z.link(z.bump, clean|MaxOrder)
	z.bump += 1 << MaxOrder
	return true
}

// take removes a block of the kind and order from the lists, splitting the
// smallest that is large enough. The lower half is taken, the upper stays.
func (z *zone) take(kind pageState, order int) (page uint32, ok bool) {
	area := &z.free[kind.area()]
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
	if kind == dirty {
		z.idle.fell(area.pages)
	}
	return page, true
}

// put adds a free block to the lists, merged with its buddies of the same
// kind. A buddy's byte is its head's whenever it matters: the two halves are
// aligned together, so a larger block that held one would hold the other.
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

// hand marks a block taken from the lists as an allocated run.
func (z *zone) hand(page uint32, order int) {
	z.pages.mark(page, order, used|pageState(order))
	z.used += 1 << order
	z.runs++
}

// release takes an allocated run back as a dirty block; ok is false and
// nothing changed when page isn't the head of one.
func (z *zone) release(page uint32) (order int, ok bool) {
	s := z.pages.state(page)
	order = s.order()
	if s.kind() != used || page&(1<<order-1) != 0 {
		return 0, false
	}
	z.pages.own(page, order, 0)
	z.pages.mark(page, order, inner)
	z.used -= 1 << order
	z.runs--
	z.put(page, dirty, order)
	if invariants.Enabled {
		z.checkSums()
	}
	return order, true
}

// detach takes the largest dirty block out of the lists to be discarded, the
// oldest of that order. Until attach, neither take nor put can see it.
func (z *zone) detach() (page uint32, order int, ok bool) {
	order = z.free[dirty.area()].largest()
	if order < 0 {
		return 0, 0, false
	}
	page = z.free[dirty.area()].lists[order].tail()
	z.leave(page, order, order)
	return page, order, true
}

// detachIdle is detach for the oldest dirty block of all orders, or as much of
// it as is idle. The largest would be the wrong one: that may be the one run
// which comes and goes, while small ones lie about.
func (z *zone) detachIdle() (page uint32, order int, ok bool) {
	area := &z.free[dirty.area()]
	spare := z.idle.spare() // at most what the lists hold
	if spare == 0 {
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
	page, order = area.lists[from].tail(), min(from, bits.Len32(spare)-1)
	z.leave(page, from, order)
	return page, order, true
}

// leave takes the first pages of a dirty block, of one order, out of its list,
// which is of another. The rest stays dirty, as several blocks.
func (z *zone) leave(page uint32, from, order int) {
	z.unlink(page, dirty|pageState(from))
	for from > order {
		from--
		z.link(page+1<<from, dirty|pageState(from))
	}
	z.pages.mark(page, 0, leaving|pageState(order))
	z.leaving += 1 << order
	z.idle.gone(1 << order)
}

// withdraw makes an allocated run that nobody knows of a detached block.
func (z *zone) withdraw(page uint32, order int) {
	z.pages.mark(page, order, inner)
	z.pages.mark(page, 0, leaving|pageState(order))
	z.used -= 1 << order
	z.leaving += 1 << order
	z.runs--
}

// attach returns a detached block as clean or, when the kernel kept the pages,
// dirty.
func (z *zone) attach(page uint32, kind pageState, order int) {
	z.leaving -= 1 << order
	z.pages.mark(page, 0, inner)
	z.put(page, kind, order)
}

// largest is the order of the largest block, or -1.
func (f *freeArea) largest() int { return bits.Len32(f.orders) - 1 }
