package arena

import (
	"slices"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// A sweep goes through all pages of a node, once a sample has found some on another one. It moves
// those on other nodes, but discards a dirty block that has many of them: the next use of its
// addresses then takes pages of the node. Used by the timer's run only.
type sweep struct {
	on   bool
	next uint32 // the zone's next page
	rest []span // mappings that are left
}

const (
	// mendTime is how long one run moves pages. It ends after the window in which that is over.
	mendTime = 5 * time.Millisecond
	// mendWindow is the number of pages about which the kernel is asked at a time.
	mendWindow = 1024
	// discardPart is the part of a dirty block's pages above which the block is discarded rather
	// than moved: 1/discardPart.
	discardPart = 8
)

// mend moves pages of nodes that have room, and reports whether there is more to do.
func (a *Arena) mend(start time.Time) (more bool) {
	o := &a.observer
	for i := range a.zones {
		s, z := &o.sweeps[i], &a.zones[i]
		o.mu.Lock()
		v, by := o.nodes[i], o.by
		o.mu.Unlock()
		home := a.policy(z.node).Nodes
		if by != numa.SourceMovePages || !v.granted || v.lost != "" || len(home) != 1 || home[0] != z.node {
			s.on = false
			continue
		}
		if !s.on && v.elsewhere > 0 {
			*s = sweep{on: true, next: z.first}
			for _, m := range a.mappings() {
				if m.node == z.node {
					s.rest = append(s.rest, m)
				}
			}
		}
		if !s.on {
			continue
		}
		room := a.roomOn(z.node)
		for s.on && room > 0 && time.Since(start) < mendTime {
			room = a.mendWindow(i, room)
		}
		if room <= 0 {
			s.on = false // a later sample begins again
		}
		more = more || s.on
	}
	return more
}

// roomOn returns how many pages may be moved to a node: what is free there, less a part for those
// that need pages at once.
func (a *Arena) roomOn(node numa.Node) int64 {
	total, free := a.topo.Memory(node)
	return (free - max(total/32, 2*maxRun)) / mem.PageSize
}

// mendWindow goes on with a sweep by a window. room is how many pages may be moved; it returns how
// many still may, and 0 if the kernel moves none.
func (a *Arena) mendWindow(i int, room int64) (left int64) {
	o := &a.observer
	s, z := &o.sweeps[i], &a.zones[i]
	addrs, blocks := a.window(z, s)
	if len(addrs) == 0 {
		s.on = false
		return room
	}
	where, err := a.cfg.kernelView.where(addrs)
	if err != nil {
		return 0
	}
	var move []uintptr
	for from, to := 0, 0; from < len(addrs); from = to {
		block := blocks[from]
		var away []uintptr
		for ; to < len(addrs) && blocks[to] == block; to++ {
			if where[to] != numa.NoNode && where[to] != z.node {
				away = append(away, addrs[to])
			}
		}
		if block != noBlock && !a.cfg.Lock && len(away)*discardPart > to-from {
			a.discardBlock(z, block.page, block.order)
		} else {
			move = append(move, away...)
		}
	}
	if move = move[:min(int64(len(move)), room)]; len(move) == 0 {
		return room
	}
	there, err := a.cfg.kernelView.move(move, z.node)
	if err != nil || there == 0 {
		return 0
	}
	o.mu.Lock()
	o.nodes[i].moved += uint64(there)
	o.mu.Unlock()
	return room - int64(len(move))
}

// A freeBlock names a dirty block.
type freeBlock struct {
	page  uint32
	order int
}

// noBlock stands for a page in use.
var noBlock = freeBlock{page: ^uint32(0)}

// window returns the addresses of the sweep's next pages, those in use and those of dirty blocks,
// and for each address the block that it lies in. It holds no lock meanwhile, so that the states
// may have changed.
func (a *Arena) window(z *zone, s *sweep) (addrs []uintptr, blocks []freeBlock) {
	z.mu.Lock()
	bump := z.bump
	z.mu.Unlock()
	add := func(addr uintptr, block freeBlock) {
		addrs, blocks = append(addrs, addr), append(blocks, block)
	}
	// The number of steps is bounded too, for a zone that is mostly free.
	for steps := 0; s.next < bump && len(addrs) < mendWindow && steps < 64*mendWindow; steps++ {
		state := a.pages.state(s.next)
		switch order := state.order(); state.kind() {
		case used:
			add(a.Addr(s.next), noBlock)
			s.next++
		case dirty:
			for page := range uint32(1) << order {
				add(a.Addr(s.next+page), freeBlock{s.next, order})
			}
			s.next += 1 << order
		case clean, leaving:
			s.next += 1 << order
		default:
			s.next++ // it was in a block when its neighbour was looked at
		}
	}
	for s.next >= bump && len(addrs) < mendWindow && len(s.rest) > 0 {
		m := &s.rest[len(s.rest)-1]
		for ; m.pages > 0 && len(addrs) < mendWindow; m.pages-- {
			add(m.addr, noBlock)
			m.addr += mem.PageSize
		}
		if m.pages == 0 {
			s.rest = slices.Delete(s.rest, len(s.rest)-1, len(s.rest))
		}
	}
	return addrs, blocks
}

// discardBlock gives a dirty block to the kernel, if it is one still.
func (a *Arena) discardBlock(z *zone, page uint32, order int) {
	a.purging.Lock()
	defer a.purging.Unlock()
	_, _, ok := a.detach(z, func() (uint32, int, bool) {
		if page >= z.bump || z.pages.state(page) != dirty|pageState(order) {
			return 0, 0, false
		}
		z.detachBlock(page, order, order)
		return page, order, true
	})
	if ok {
		_ = a.discardDetached(z, page, order) // counted; it stays dirty if the kernel refuses
	}
}
