package arena

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// Addresses that an arena has handed out are never unmapped, since a stale pointer must not come to
// point into the Go heap. They are used again by later arenas, so that a process may open and close
// any number of them.
//
// Why a closed arena can't harm the one that has its addresses next: a run is freed under its
// zone's mu, and only if it lies below bump. Close stores first into bump, under mu, before it
// gives the range away. So a Free on the closed arena finds no run, however long it was under way.
// Alloc and Map are refused by Arena.runs, a goroutine that makes pages writable by zone.closed.
// What else a closed arena may be asked reads the page map and writes nothing.

// rangeKey says which arenas can use a range: those that divide it alike, and those that bind it if
// it was bound before.
type rangeKey struct {
	layout string // the layout's key
	bound  bool   // Arena.binds: the page map keeps its policies
}

func (a *Arena) rangeKey(l layout) rangeKey {
	return rangeKey{l.key(), a.binds()}
}

// A closedRange is what an arena needs of addresses. Nothing in it is writable. The page map reads
// zero.
type closedRange struct {
	backing  backing
	pages    pagemap
	readable []uint32 // by zone: pages below were carved once and can be read. nil: a new range
}

// closedRanges holds the ranges of closed arenas, and the addresses of their mappings.
var closedRanges = struct {
	mu       sync.Mutex // a leaf: nothing is locked under it
	ranges   map[rangeKey][]closedRange
	mappings map[uintptr][]*mapping // by reserved bytes
}{ranges: make(map[rangeKey][]closedRange), mappings: make(map[uintptr][]*mapping)}

// takeRange returns the range of a closed arena, or a new one of that many bytes.
func takeRange(key rangeKey, size uintptr) (closedRange, error) {
	if r, ok, err := takeClosedRange(key); ok || err != nil {
		return r, err
	}
	b, err := newBacking(size)
	if err != nil {
		return closedRange{}, err
	}
	pages, err := newPagemap(size / mem.PageSize)
	if err != nil {
		return closedRange{}, errors.Join(err, b.unmap())
	}
	return closedRange{backing: b, pages: pages}, nil
}

// takeClosedRange returns the range of a closed arena, if there is one. It fails where newBacking
// and newPagemap would be made to fail by a test.
func takeClosedRange(key rangeKey) (r closedRange, ok bool, err error) {
	closedRanges.mu.Lock()
	defer closedRanges.mu.Unlock()
	list := closedRanges.ranges[key]
	if len(list) == 0 {
		return closedRange{}, false, nil
	}
	for range 2 {
		if err := sys.CallReserve.InjectedErr(); err != nil {
			return closedRange{}, false, err
		}
	}
	r = list[len(list)-1]
	closedRanges.ranges[key] = slices.Delete(list, len(list)-1, len(list))
	return r, true, nil
}

// giveRange closes the zones, gives their pages to the kernel, and the addresses to later arenas.
// If the kernel refuses, the addresses stay reserved and are not used again. Preconditions: no run
// is allocated and no block is leaving.
func (a *Arena) giveRange() error {
	r := closedRange{backing: a.backing, pages: a.pages, readable: make([]uint32, len(a.zones))}
	var errs []error
	for i := range a.zones {
		z := &a.zones[i]
		first := a.Addr(z.first)
		r.readable[i] = z.reset()
		errs = append(errs, a.backing.reset(first, z.bytes(), a.Addr(r.readable[i])-first))
	}
	for i := range a.zones { // all zones are closed, since two may share a page of the map
		errs = append(errs, a.pages.reset(a.zones[i].first, a.zones[i].mapped))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.backing.label("closed arena")
	a.pages.label("of closed arena")
	closedRanges.mu.Lock()
	defer closedRanges.mu.Unlock()
	key := a.rangeKey(a.divided)
	closedRanges.ranges[key] = append(closedRanges.ranges[key], r)
	return nil
}

// reset closes the zone: it has no blocks, and no page that is or will be carved. It returns the
// first page that was never carved, by this arena or one before.
func (z *zone) reset() (readable uint32) {
	z.growing.Lock() // waits for a goroutine of growAhead; a later one finds the zone closed
	defer z.growing.Unlock()
	z.mu.Lock()
	defer z.mu.Unlock()
	if invariants.Enabled {
		z.check()
	}
	readable = max(z.readable, z.bump)
	z.free = [2]freeArea{}
	z.idle = idle{}
	z.bump, z.writable, z.closed = z.first, z.first, true
	return readable
}

// newMapping returns a mapping of closed arenas with that many reserved bytes, or a new one.
func newMapping(reserved uintptr) (*mapping, error) {
	if m, err := takeClosedMapping(reserved); m != nil || err != nil {
		return m, err
	}
	b, err := newBacking(reserved)
	if err != nil {
		return nil, err
	}
	return &mapping{backing: b, node: numa.NoNode}, nil
}

// takeClosedMapping returns a mapping of closed arenas, or nil. It fails where newBacking would be
// made to fail by a test.
func takeClosedMapping(reserved uintptr) (*mapping, error) {
	closedRanges.mu.Lock()
	defer closedRanges.mu.Unlock()
	list := closedRanges.mappings[reserved]
	if len(list) == 0 {
		return nil, nil
	}
	if err := sys.CallReserve.InjectedErr(); err != nil {
		return nil, err
	}
	m := list[len(list)-1]
	closedRanges.mappings[reserved] = slices.Delete(list, len(list)-1, len(list))
	return m, nil
}

// giveAll gives the addresses of a closed arena's mappings to later arenas. Preconditions: none is
// live, and purging is held, so that none is being discarded.
func (b *mappings) giveAll() error {
	b.mu.Lock()
	all := slices.Concat(slices.Collect(maps.Values(b.clean))...)
	all = append(all, slices.Concat(slices.Collect(maps.Values(b.kept))...)...)
	clear(b.clean)
	clear(b.kept)
	b.free = 0
	b.mu.Unlock()
	var errs []error
	for _, m := range all {
		readable := max(m.readable, m.writable)
		if err := m.backing.reset(m.backing.base, m.backing.size, readable); err != nil {
			errs = append(errs, err)
			continue
		}
		m.backing.label("closed arena")
		given := &mapping{backing: m.backing, node: numa.NoNode, readable: readable}
		closedRanges.mu.Lock()
		closedRanges.mappings[m.backing.size] = append(closedRanges.mappings[m.backing.size], given)
		closedRanges.mu.Unlock()
	}
	return errors.Join(errs...)
}
