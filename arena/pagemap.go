package arena

import (
	"errors"
	"iter"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// pageState is one page's byte in the page map: its kind in the upper half, the order of its run or
// block in the lower.
type pageState uint8

const (
	// inner is a page that was never carved, or one inside a free block.
	inner pageState = 0
	// clean, dirty and leaving mark the head page of a free block which is all zero, was used since
	// it was last discarded, or is being discarded right now.
	clean   pageState = 1 << 4
	dirty   pageState = 2 << 4
	leaving pageState = 3 << 4
	// used marks every page of an allocated run, so that one load finds the head from any of them.
	used pageState = 4 << 4

	orderMask pageState = 1<<4 - 1
)

func (s pageState) order() int      { return int(s & orderMask) }
func (s pageState) kind() pageState { return s &^ orderMask }

// metaSize is the size of a Meta record in bytes: half a cache line, so that a slab's descriptor
// never straddles two lines.
const metaSize = 32

// pageMapBytes is the number of bytes that the page map has for each page.
const pageMapBytes = metaSize + 4 + 1

// pagemap has what the arena knows of each page. It lies beside the range and off-heap, so that it
// costs memory only where the range is used.
type pagemap struct {
	// states packs the bytes of eight pages into a word. Written with the zone's mu held; a zone is
	// a multiple of 1024 pages, so no two zones share a word. Read by any goroutine.
	states []atomic.Uint64
	// owners holds the owner word of each page, 0 for none. Written by the run's owner between
	// Alloc and Free, and by Free. Read by any goroutine.
	owners []atomic.Uint32
	// metas is the address of the Meta records. The record of a free block's head page holds the
	// links of its list, under the zone's mu. Those of an allocated run belong to the run's owner.
	metas uintptr
}

// newPagemap reserves the map of a number of pages that is a multiple of 1024. Each array then
// begins on a page of the kernel's. All of the map can be read, since any goroutine may ask for the
// owner of any page; makeWritable makes parts of it writable. In front of it and behind it lies a
// page without access: a write that runs over the end of a neighbouring mapping, which may be a
// range with objects, faults there and leaves the map as it is.
func newPagemap(pages uintptr) (pagemap, error) {
	size := pagemapSize(pages)
	start, err := sys.ReserveAs(size+2*mem.PageSize, sys.NoAccess)
	if err != nil {
		return pagemap{}, err
	}
	addr := start + mem.PageSize
	// Memory that is mapped readable would become resident after mlockall.
	if err := sys.Protect(addr, size, sys.ReadOnly); err != nil {
		return pagemap{}, errors.Join(err, sys.Unmap(start, size+2*mem.PageSize))
	}
	owners := addr + pages*metaSize
	states := owners + pages*4
	return pagemap{
		metas:  addr,
		owners: unsafe.Slice(mem.At[atomic.Uint32](owners), pages),
		states: unsafe.Slice(mem.At[atomic.Uint64](states), pages/8),
	}, nil
}

// pagemapSize is the size of the whole map of that many pages in bytes.
func pagemapSize(pages uintptr) uintptr { return mem.AlignUp(pages*pageMapBytes, mem.PageSize) }

// bytes is the size of the whole map, which begins at metas.
func (m *pagemap) bytes() uintptr { return pagemapSize(uintptr(len(m.owners))) }

// label gives the map a name, with the pages on both sides, and keeps what isn't writable out of
// core dumps. Either may fail without harm.
func (m *pagemap) label(name string) {
	start, size := m.metas-mem.PageSize, m.bytes()+2*mem.PageSize
	_ = sys.SetName(start, size, sys.Name("slubd: page map "+name))
	_ = sys.DumpCore(start, size, false)
}

// parts returns the addresses of the three arrays' parts for pages [first, end).
func (m *pagemap) parts(first, end uint32) [3]struct{ from, to uintptr } {
	owners, states := uintptr(unsafe.Pointer(&m.owners[0])), uintptr(unsafe.Pointer(&m.states[0]))
	return [...]struct{ from, to uintptr }{
		{m.meta(first), m.meta(end)},
		{owners + uintptr(first)*4, owners + uintptr(end)*4},
		{states + uintptr(first), states + uintptr(end)},
	}
}

// makeWritable makes the map of pages [first, end) writable. A page of the kernel's may hold states
// of two zones, and is then made writable twice.
func (m *pagemap) makeWritable(first, end uint32) error {
	return m.eachPart(first, end, makeWritable)
}

// reset clears the map of pages [first, end) and makes it read-only again, as newPagemap does. If
// the kernel refuses, reset discards the pages instead.
func (m *pagemap) reset(first, end uint32) error {
	return m.eachPart(first, end, func(addr, n uintptr) error {
		err := sys.Replace(addr, n, sys.ReadOnly)
		discarded := sys.Discard(addr, n) // after mlockall the new pages are resident
		if err != nil {
			return errors.Join(err, discarded)
		}
		return nil
	})
}

// eachPart calls do with the parts for pages [first, end), in whole pages of the kernel's.
func (m *pagemap) eachPart(first, end uint32, do func(addr, n uintptr) error) error {
	for _, part := range m.parts(first, end) {
		from, to := mem.AlignDown(part.from, mem.PageSize), mem.AlignUp(part.to, mem.PageSize)
		if from == to {
			continue
		}
		if err := do(from, to-from); err != nil {
			return err
		}
	}
	return nil
}

// makeWritable makes memory writable and a part of core dumps. Leaving it out of those is no error.
func makeWritable(addr, n uintptr) error {
	if err := sys.Protect(addr, n, sys.ReadWrite); err != nil {
		return err
	}
	// In this order no failure leaves more mappings behind than there were: mprotect makes one of
	// these pages, and madvise merges it with the writable one before it.
	_ = sys.DumpCore(addr, n, true)
	return nil
}

// bind asks the kernel to prefer the nodes for the map of pages [first, end).
func (m *pagemap) bind(nodes []numa.Node, first, end uint32) {
	policy := numa.Policy{Mode: numa.Preferred, Nodes: nodes}
	for _, part := range m.parts(first, end) {
		from, to := mem.AlignUp(part.from, mem.PageSize), mem.AlignDown(part.to, mem.PageSize)
		if from < to {
			_, _ = policy.Apply(from, to-from)
		}
	}
}

// unmap gives the addresses back. Preconditions: no other goroutine ever saw the map.
func (m *pagemap) unmap() error { return sys.Unmap(m.metas-mem.PageSize, m.bytes()+2*mem.PageSize) }

func (m *pagemap) state(page uint32) pageState {
	return pageState(m.states[page/8].Load() >> (page % 8 * 8))
}

// blocks yields the aligned blocks that the pages [first, end) consist of, in the order of their
// addresses, each the largest that begins where the one before ends.
func blocks(first, end uint32) iter.Seq2[uint32, int] {
	return func(yield func(page uint32, order int) bool) {
		for page := first; page < end; {
			order := min(bits.TrailingZeros32(page), bits.Len32(end-page)-1, MaxOrder)
			if !yield(page, order) {
				return
			}
			page += 1 << order
		}
	}
}

// orderOf is the order of the smallest block that holds that many pages.
func orderOf(pages uint32) int { return bits.Len32(pages - 1) }

// runPages is the number of pages of the allocated run at head, in state s. No other run of this
// order lies in the block of this order that begins at head. So the pages in this state are those
// of the run: they begin with head, are more than half of the block, and the rest is in other
// states.
func (m *pagemap) runPages(head uint32, s pageState) uint32 {
	most := uint32(1) << s.order()
	if m.state(head+most-1) == s {
		return most
	}
	least := most/2 + 1 // that many are in this state at least, and fewer than most
	for least+1 < most {
		if middle := (least + most) / 2; m.state(head+middle-1) == s {
			least = middle
		} else {
			most = middle
		}
	}
	return least
}

// markRun sets the state of all pages of a run, which is aligned to its number of pages, rounded up
// to a power of two. Preconditions: the zone's mu is held.
func (m *pagemap) markRun(page, pages uint32, s pageState) {
	if pages&(pages-1) == 0 { // the common case, without an iterator
		m.mark(page, orderOf(pages), s)
		return
	}
	for page, order := range blocks(page, page+pages) {
		m.mark(page, order, s)
	}
}

// mark sets the state of 1<<order pages, to which page is aligned. Preconditions: the zone's mu is
// held.
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

// setOwner stores the word for that many pages.
func (m *pagemap) setOwner(page, pages uint32, word owner.Word) {
	run := m.owners[page : page+pages]
	for i := range run {
		run[i].Store(uint32(word))
	}
}

// meta is the address of the page's Meta record.
func (m *pagemap) meta(page uint32) uintptr { return m.metas + uintptr(page)*metaSize }
