package percpu

import "github.com/slubd/slubd/internal/mem"

// Cells are used again, but never while a late operation may still work on the cache that had them.
// Such operations are bugs of their callers, and yet must not touch the objects of another cache.
// They can't be waited for: a goroutine may have loaded the address of a cell and be descheduled
// before it uses it, for as long as it likes. But each of them has a reference to its cache, or to
// the sheaves or slabs of it, until it is done:
//
//   - Go code that takes a cell's address from such an object keeps the object alive until it has
//     used the cell: it uses the object afterwards, or calls runtime.KeepAlive.
//   - Assembly gets the address of the operation, which lies in the cache or refers to it by its
//     slow path, in a register. The collector ends no cycle while a goroutine runs assembly, since
//     that has no safe points, nor while one is pinned (procPin).
//
// So once the collector has found that nothing refers to the cache, no operation is under way and
// none can begin. The caller of Recycle knows that from a runtime.AddCleanup. Fences would not do:
// they order what CPUs do, and say nothing of Go code that is descheduled.

// Recycle lets slots be handed out again. They were freed, and no goroutine can use them any more.
func (s Slots) Recycle() { recycleCells(s.base, 1) }

// Recycle lets counters be handed out again. They were freed, and no goroutine can use them any
// more.
func (c Counters) Recycle() { recycleCells(c.base, 1) }

// RecycleAdjacent is Recycle for what NewAdjacentSlots returned.
func RecycleAdjacent(slots []Slots) {
	for len(slots) > 0 {
		group := min(len(slots), MaxAdjacent)
		recycleCells(slots[0].base, group)
		slots = slots[group:]
	}
}

// OnlyNewCells keeps recycled cells from being handed out until restore is called. For tests that
// count what is mapped.
func OnlyNewCells() (restore func()) {
	set := func(on bool) {
		areas.mu.Lock()
		areas.onlyNew = on
		areas.mu.Unlock()
	}
	set(true)
	return func() { set(false) }
}

func recycleCells(addr uintptr, n int) {
	areas.mu.Lock()
	defer areas.mu.Unlock()
	areas.recycled[n] = append(areas.recycled[n], addr)
}

// reuseCells hands out n adjacent cells that were recycled, zeroed, or returns 0. It looks at the
// last ones only, so that it costs the same however many there are. The caller holds areas.mu.
func reuseCells(n int) uintptr {
	list := areas.recycled[n]
	last := len(list) - 1
	if areas.onlyNew || last < 0 || !usable(list[last], n) {
		return 0
	}
	addr := list[last]
	areas.recycled[n] = list[:last]
	for cell := addr; cell < addr+uintptr(n)*cellSize; cell += cellSize {
		page := cell &^ (mem.PageSize - 1)
		dead := areas.dead[page]
		dead.state = pageInUse
		bit := uint16(1) << (cell % mem.PageSize / cellSize)
		dead.cells &^= bit
		dead.stacks &^= bit
		areas.dead[page] = dead
		clearWords(cell) // late operations may have counted something, or locked a stack
		clearMarks(cell)
	}
	areas.freed -= n
	return addr
}

// usable reports whether no page of n cells is being discarded. The caller holds areas.mu.
func usable(addr uintptr, n int) bool {
	for page := addr &^ (mem.PageSize - 1); page < addr+uintptr(n)*cellSize; page += mem.PageSize {
		if areas.dead[page].state == pageDiscarding {
			return false
		}
	}
	return true
}
