package arena

import "github.com/slubd/slubd/internal/mem"

// list is a doubly linked list of free blocks, by their head pages' numbers, the youngest first.
// The links lie in the Meta records of these pages: a free block has no other use for its record,
// and its pages stay untouched. Guarded by the zone's mu.
type list struct {
	top, bottom uint32 // page number + 1 of the first and the last block; 0 when the list is empty
}

// link is the content of a free block's Meta record. Both page numbers count from 1, as top does.
type link struct {
	next, prev uint32
	born       uint64 // zone.births when the block came into the list
}

// head is the block at the front, tail the block at the end. Preconditions: the list isn't empty.
func (l *list) head() uint32 { return l.top - 1 }
func (l *list) tail() uint32 { return l.bottom - 1 }

func (m *pagemap) link(page uint32) *link { return mem.At[link](m.meta(page)) }

// link puts a block at the front of its list, from where the next is taken: the pages that were
// freed last are the most likely to be in a CPU's cache.
func (z *zone) link(page uint32, s pageState) {
	area, order := &z.free[s.area()], s.order()
	l := &area.lists[order]
	if l.top != 0 {
		z.pages.link(l.head()).prev = page + 1
	} else {
		l.bottom = page + 1
	}
	z.births++
	*z.pages.link(page) = link{next: l.top, born: z.births}
	l.top = page + 1
	area.orders |= 1 << order
	area.pages += 1 << order
	z.pages.mark(page, 0, s)
}

// unlink removes a block from its list. Its head page becomes an inner one.
func (z *zone) unlink(page uint32, s pageState) {
	area, order := &z.free[s.area()], s.order()
	l, at := &area.lists[order], z.pages.link(page)
	if at.prev != 0 {
		z.pages.link(at.prev - 1).next = at.next
	} else if l.top = at.next; l.top == 0 {
		area.orders &^= 1 << order
	}
	if at.next != 0 {
		z.pages.link(at.next - 1).prev = at.prev
	} else {
		l.bottom = at.prev
	}
	area.pages -= 1 << order
	z.pages.mark(page, 0, inner)
}
