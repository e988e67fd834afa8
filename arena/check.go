package arena

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// fail reports a broken invariant. Checks of single pages compare first and call it only on
// failure, since the arguments of invariants.Check cost more than the comparison.
func fail(format string, args ...any) { invariants.Check(false, format, args...) }

// checkSums checks the zone's equation, and everything else whenever the zone becomes empty.
// Preconditions: mu is held.
func (z *zone) checkSums() {
	clean, dirty, carved := z.free[clean.area()].pages, z.free[dirty.area()].pages, z.bump-z.first
	if z.used+clean+dirty+z.leaving != carved || z.bump > z.writable || z.writable > z.end || carved%(1<<MaxOrder) != 0 {
		fail("node %d: used %d + clean %d + dirty %d + leaving %d pages, carved %d of %d, %d writable",
			z.node, z.used, clean, dirty, z.leaving, carved, z.end-z.first, z.writable-z.first)
	}
	if idle := max(z.idle.low, z.idle.idlePages()); idle > dirty {
		fail("node %d: %d pages idle of %d dirty ones", z.node, idle, dirty)
	}
	if z.used == 0 {
		z.check()
	}
}

// check walks every carved page and every list, and compares them with each other and with the
// sums. Preconditions: mu is held.
func (z *zone) check() {
	sums := zone{node: z.node} // what the pages add up to
	for page := z.first; page < z.bump; {
		s := z.checkBlock(page)
		size := z.checkedSize(page, s)
		switch s.kind() {
		case used:
			sums.used += size
			sums.runs++
		case leaving:
			sums.leaving += size
		default:
			sums.free[s.area()].pages += size
		}
		page += size
	}
	if sums.used != z.used || sums.runs != z.runs || sums.leaving != z.leaving {
		fail("node %d: pages say %d used in %d runs, %d leaving; sums say %d, %d, %d",
			z.node, sums.used, sums.runs, sums.leaving, z.used, z.runs, z.leaving)
	}
	for _, kind := range []pageState{clean, dirty} {
		listed, walked, sum := z.checkLists(kind), sums.free[kind.area()].pages, z.free[kind.area()].pages
		if listed != sum || walked != sum {
			fail("node %d: lists of kind %#x hold %d pages, the pages say %d, the sum %d", z.node, uint8(kind), listed, walked, sum)
		}
	}
}

// checkedSize returns the pages of the run or free block that begins at page. A run of other than
// 1<<order pages ends where the first page has another state.
func (z *zone) checkedSize(page uint32, s pageState) (size uint32) {
	if s.kind() != used {
		return 1 << s.order()
	}
	for size < 1<<s.order() && z.pages.state(page+size) == s {
		size++
	}
	if size <= 1<<s.order()/2 || size != z.pages.runPages(page, s) {
		fail("page %d: state %#x has %d pages, the run %d", page, uint8(s), size, z.pages.runPages(page, s))
	}
	return size
}

// checkBlock checks the pages of the run or free block that begins at page, and returns its state.
func (z *zone) checkBlock(page uint32) pageState {
	s := z.pages.state(page)
	order := s.order()
	if s.kind() < clean || s.kind() > used || order > MaxOrder || page%(1<<order) != 0 {
		fail("page %d: state %#x at the head of a block", page, uint8(s))
	}
	size := z.checkedSize(page, s)
	inside := inner
	if s.kind() == used {
		inside = s
	}
	for p := page + 1; p < page+size; p++ {
		if got := z.pages.state(p); got != inside {
			fail("page %d: state %#x inside the block at %d, state %#x", p, uint8(got), page, uint8(s))
		}
	}
	if s.kind() == used {
		return s
	}
	for p := page; p < page+size; p++ {
		if owner := z.pages.owners[p].Load(); owner != 0 {
			fail("page %d is free and has owner %#x", p, owner)
		}
	}
	if buddy := page ^ size; s.kind() != leaving && order < MaxOrder && z.pages.state(buddy) == s {
		fail("pages %d and %d, state %#x, should have been merged", page, buddy, uint8(s))
	}
	return s
}

// checkLists walks one kind's lists and returns the pages found there.
func (z *zone) checkLists(kind pageState) (pages uint32) {
	area := &z.free[kind.area()]
	for order := range area.lists {
		at, prev := area.lists[order].top, uint32(0)
		young := z.births
		if (at != 0) != (area.orders>>order&1 != 0) {
			fail("node %d: list of order %d begins with %d, the bit map of orders is %#x", z.node, order, at, area.orders)
		}
		for at != 0 {
			l := z.pages.link(at - 1)
			if s := z.pages.state(at - 1); s != kind|pageState(order) || l.prev != prev {
				fail("page %d: state %#x in the list of order %d, comes after %d, not %d", at-1, uint8(s), order, prev, l.prev)
			}
			if l.born > young {
				fail("page %d in the list of order %d is younger than those before it", at-1, order)
			}
			pages += 1 << order
			at, prev, young = l.next, at, l.born
		}
		if prev != area.lists[order].bottom {
			fail("node %d: list of order %d ends with %d, not %d", z.node, order, prev, area.lists[order].bottom)
		}
	}
	return pages
}

// checkZero finds writes to a run after it was discarded.
func (a *Arena) checkZero(run Run) {
	words := unsafe.Slice(mem.At[uint64](a.Addr(run.Page)), run.bytes()/8)
	for i, word := range words {
		if word != 0 {
			fail("arena %s: page %d: %#x at byte %d after discard", a.cfg.Name, run.Page, word, i*8)
		}
	}
}
