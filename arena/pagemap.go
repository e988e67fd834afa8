package arena

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// pageState is one page's byte in the page map: what it is in the upper half,
// the order of the run or block in the lower.
type pageState uint8

const (
	// inner is a page never carved, or one inside a free block.
	inner pageState = 0
	// clean, dirty and leaving mark the head page of a free block: all zero,
	// used since the last discard, being discarded right now.
	clean   pageState = 1 << 4
	dirty   pageState = 2 << 4
	leaving pageState = 3 << 4
	// used marks every page of an allocated run, so that one load finds the
	// head from any of them.
	used pageState = 4 << 4

	orderMask pageState = 1<<4 - 1
)

func (s pageState) order() int      { return int(s & orderMask) }
func (s pageState) kind() pageState { return s &^ orderMask }

// metaSize is the bytes of a Meta record: half a cache line, so that a slab's
// descriptor never straddles two.
const metaSize = 32

// pageMapBytes is what a page costs in the page map.
const pageMapBytes = metaSize + 4 + 1

// pagemap is what is known of each page, beside the range and off-heap, so
// that it costs memory only where the range is used.
type pagemap struct {
	// states packs eight pages' bytes into a word. Written with the zone's mu
	// held; a zone is a multiple of 1024 pages, so no two zones share a word.
	// Read by anybody.
	states []atomic.Uint64
	// owners holds the run owner's word for each page, 0 for none. Written by
	// the owner between Alloc and Free, and by Free. Read by anybody.
	owners []atomic.Uint32
	// metas is the address of the Meta records. Those of free blocks' heads
	// hold the free lists' links, under the zone's mu; those of allocated runs
	// belong to the run's owner.
	metas uintptr
}

// newPagemap reserves the map of so many pages, a multiple of 1024. Each of the
// arrays begins on a cache line, since 1024 divides their sizes.
func newPagemap(pages uintptr) (pagemap, error) {
	addr, err := sys.Reserve(mem.AlignUp(pages*pageMapBytes, mem.PageSize))
	if err != nil {
		return pagemap{}, err
	}
	owners := addr + pages*metaSize
	states := owners + pages*4
	return pagemap{
		metas:  addr,
		owners: unsafe.Slice(mem.At[atomic.Uint32](owners), pages),
		states: unsafe.Slice(mem.At[atomic.Uint64](states), pages/8),
	}, nil
}

// bytes is the size of the whole map. The records come first, see newPagemap.
func (m *pagemap) bytes() uintptr {
	return mem.AlignUp(uintptr(len(m.owners))*pageMapBytes, mem.PageSize)
}

// bind prefers the nodes for the map of pages [first, end).
func (m *pagemap) bind(nodes []numa.Node, first, end uint32) {
	policy := numa.Policy{Mode: numa.Preferred, Nodes: nodes}
	owners, states := uintptr(unsafe.Pointer(&m.owners[0])), uintptr(unsafe.Pointer(&m.states[0]))
	for _, part := range [...]struct{ from, to uintptr }{
		{m.meta(first), m.meta(end)},
		{owners + uintptr(first)*4, owners + uintptr(end)*4},
		{states + uintptr(first), states + uintptr(end)},
	} {
		from, to := mem.AlignUp(part.from, mem.PageSize), mem.AlignDown(part.to, mem.PageSize)
		if from < to {
			_, _ = policy.Apply(from, to-from)
		}
	}
}

// discard empties the map, so that no page has a run or an owner.
func (m *pagemap) discard() error { return sys.Discard(m.metas, m.bytes()) }

// release unmaps the map. Preconditions: nobody ever saw it.
func (m *pagemap) release() error { return sys.Unmap(m.metas, m.bytes()) }

func (m *pagemap) state(page uint32) pageState {
	return pageState(m.states[page/8].Load() >> (page % 8 * 8))
}

// mark sets the state of 1<<order pages, page being aligned to that many.
// Preconditions: the zone's mu is held.
func (m *pagemap) mark(page uint32, order int, s pageState) {
	const ones = 0x0101010101010101
	word := page / 8
	if order >= 3 {
		for range 1 << (order - 3) {
			m.states[word].Store(uint64(s) * ones)
			word++
		}
		return
	}
	shift := page % 8 * 8
	mask := uint64(1)<<(8<<order) - 1 // 1, 2 or 4 bytes
	old := m.states[word].Load()
	m.states[word].Store(old&^(mask<<shift) | uint64(s)*ones&mask<<shift)
}

func (m *pagemap) own(page uint32, order int, owner uint32) {
	run := m.owners[page : page+1<<order]
	for i := range run {
		run[i].Store(owner)
	}
}

// meta is the address of the page's record.
func (m *pagemap) meta(page uint32) uintptr { return m.metas + uintptr(page)*metaSize }
