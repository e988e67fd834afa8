package arena

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Topology returns the nodes that the arena was made for.
func (a *Arena) Topology() *numa.Topology { return a.topo }

// Span returns the bytes of the range that the largest node owns; all own as much if Config.Span
// says how much. NodeStats.Reserved has that of each.
func (a *Arena) Span() int64 { return int64(a.divided.largest()) }

// NodeOf returns the node that owns an address, or numa.NoNode outside the range. The kernel may
// have placed the page on another node, see numa.Where.
func (a *Arena) NodeOf(addr uintptr) numa.Node {
	if i := a.NodeIndex(addr); i >= 0 {
		return a.topo.Nodes()[i]
	}
	return numa.NoNode
}

// Base returns the address of page 0. For allocators.
func (a *Arena) Base() uintptr { return a.base }

// Pages returns the number of pages in the range. For allocators.
func (a *Arena) Pages() uint32 { return uint32(a.size / mem.PageSize) }

// Addr returns the address of a page, without a check. For allocators.
func (a *Arena) Addr(page uint32) uintptr { return a.base + uintptr(page)*mem.PageSize }

// PageOf returns the page that an address lies in; ok is false outside the range. For allocators.
func (a *Arena) PageOf(addr uintptr) (page uint32, ok bool) {
	off := addr - a.base
	return uint32(off / mem.PageSize), off < a.size
}

// NodeIndex returns the topology's index of the node that owns an address, or -1 outside the range.
// It loads no memory but the first lines of a and a table of up to 1 KiB or so. For allocators.
func (a *Arena) NodeIndex(addr uintptr) int {
	if off := addr - a.base; off < a.size {
		return int(a.parts[off>>a.partShift])
	}
	return -1
}

// zoneOf returns the zone of a page, or nil outside the range.
func (a *Arena) zoneOf(page uint32) *zone {
	if i := a.NodeIndex(a.Addr(page)); i >= 0 {
		return &a.zones[i]
	}
	return nil
}
