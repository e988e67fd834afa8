package arena

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// An allocation larger than the largest run is a mapping, with addresses of its own. A map finds it
// by its start, under a lock: touching megabytes takes so long that the lock costs little.
//
// The ledger counts the pages of a mapping while it is handed out, so that the limit bounds runs
// and mappings together. A freed mapping keeps its pages for a while, see kept.go. Its addresses
// are kept for the next one of about its size, for ever: as with the range, a stale pointer must
// not come to point into the Go heap.

// A mapping is one reservation outside the range. kept.go says which goroutine may use its fields.
type mapping struct {
	backing backing
	bytes   uintptr // handed out, whole pages
	charged int64   // pages in the ledger, the first ones; what lies behind them reads zero
	node    numa.Node
	home    *nodeLedger // for the memory of node, which the pages are charged to

	writable uintptr // bytes that can be written, the most that were handed out
	readable uintptr // bytes that closed arenas had handed out before

	order uint64 // mappings.frees when it was freed
	tick  uint64 // mappings.ticks when it was freed
}

type mappings struct {
	mu    sync.Mutex             // a leaf
	live  map[uintptr]*mapping   // by address
	kept  map[keptKey][]*mapping // freed ones with pages, those freed first come first
	clean map[uintptr][]*mapping // others, by reserved bytes; the last one is taken first
	bytes int64                  // of live ones
	free  int64                  // bytes of kept ones' pages, those that are being discarded too
	frees uint64                 // mappings ever kept, to tell old from young
	ticks uint64                 // ticks of Config.Decay that have ended
}

// mappingClass is the number of bytes to reserve for n: the next of eight steps between powers of
// two, so that a freed mapping fits others of about its size. The bytes beyond n are never touched
// and cost only addresses.
func mappingClass(n uintptr) uintptr {
	step := uintptr(1) << max(0, bits.Len(uint(n-1))-4)
	return mem.AlignUp(n, max(maxRun, step))
}

// MaxMapping bounds a mapping in bytes, so that the ledger's sum of pages can't overflow.
const MaxMapping = 1 << 43

// Map returns the address of n bytes, rounded up to pages and aligned to 4 MiB, which belong to the
// caller until Unmap. It asks the kernel to place them on the node, as for runs. All bytes behind
// the first dirty ones read zero: dirty is 0 unless the pages of a freed mapping are used again.
// For allocators.
//
// Errors: ErrLimit, ErrNodeLimit (a *NodeLimitError), ErrExcluded, ErrCommit, for more than 8 TiB
// ErrTooLarge, and ErrReserve, also for n <= 0; these match ErrNoMemory. ErrClosed, ErrNode.
func (a *Arena) Map(n int64, node numa.Node) (addr uintptr, dirty int64, err error) {
	addr, dirty, err = a.mapBytes(n, node)
	if err == ErrNodeLimit {
		err = a.homeOf(node).failure(err, int64(mem.AlignUp(uintptr(n), mem.PageSize)/mem.PageSize))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w (arena %s, %d bytes, node %d)", err, a.cfg.Name, n, node)
	}
	a.shrinkNear()
	return addr, dirty, nil
}

func (a *Arena) mapBytes(n int64, node numa.Node) (addr uintptr, dirty int64, err error) {
	switch {
	case n <= 0:
		return 0, 0, ErrReserve
	case n > MaxMapping:
		return 0, 0, ErrTooLarge
	case a.topo.Index(node) < 0:
		return 0, 0, ErrNode
	case a.zones[a.topo.Index(node)].excluded.Load():
		return 0, 0, ErrExcluded
	case a.runs.Add(1) < 0:
		return 0, 0, ErrClosed
	}
	defer func() {
		if err != nil {
			a.runs.Add(-1)
		}
	}()
	bytes := mem.AlignUp(uintptr(n), mem.PageSize)
	m, dirtyPages, err := a.takeMapping(bytes, node)
	if err != nil {
		return 0, 0, err
	}
	m.bytes = bytes
	followCoupling() // before the pages become resident
	a.armFollow()
	a.armObserver()
	unpoison(m.backing.base, bytes)
	err = m.makeWritable()
	if err == nil {
		err = a.commitBytes(m.backing.base, bytes)
	} else {
		err = a.committed(err)
	}
	if err != nil {
		poison(m.backing.base, bytes)
		a.discardMapping(m)
		return 0, 0, err
	}
	a.big.mu.Lock()
	a.big.live[m.backing.base] = m
	a.big.bytes += int64(bytes)
	a.big.mu.Unlock()
	return m.backing.base, min(dirtyPages*mem.PageSize, int64(bytes)), nil
}

// makeWritable makes the bytes writable that are about to be handed out.
func (m *mapping) makeWritable() error {
	if m.bytes <= m.writable {
		return nil
	}
	if err := m.backing.makeWritable(m.backing.base+m.writable, m.bytes-m.writable); err != nil {
		return err
	}
	m.writable = m.bytes
	return nil
}

// takeMapping takes a kept mapping, or a clean one of this arena or of closed ones, or makes one,
// and charges its pages. It returns how many of them may not be zero.
func (a *Arena) takeMapping(bytes uintptr, node numa.Node) (m *mapping, dirty int64, err error) {
	reserved, pages := mappingClass(bytes), int64(bytes/mem.PageSize)
	m, dirty, err = a.takeKept(keptKey{reserved, node}, pages)
	if m != nil || err != nil {
		return m, dirty, err
	}
	if m, err = a.reserveMapping(reserved, node); err != nil {
		return nil, 0, err
	}
	if err = a.charge(m.home, pages); err != nil {
		a.putMapping(m)
		return nil, 0, err
	}
	m.charged = pages
	return m, 0, nil
}

// reserveMapping finds a clean mapping, of this arena or of closed ones, or makes one.
func (a *Arena) reserveMapping(reserved uintptr, node numa.Node) (*mapping, error) {
	m := a.big.takeClean(reserved)
	if m == nil {
		var err error
		if m, err = newMapping(reserved); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrReserve, err)
		}
		m.backing.label("large " + a.cfg.Name)
		m.backing.advise(a.cfg.HugePages)
	}
	if m.node == node {
		return m, nil
	}
	policy := a.policy(node)
	placement, err := a.place(&m.backing, policy, m.backing.base, reserved)
	if late, ok := older(policy); ok && err == nil && placement.Outcome != numa.Bound {
		_, err = a.place(&m.backing, late, m.backing.base, reserved)
	}
	if err != nil {
		a.putMapping(m)
		return nil, fmt.Errorf("%w: node %d: %w", ErrReserve, node, err)
	}
	m.node, m.home = node, a.homeOf(node)
	return m, nil
}

// charge puts pages into the ledgers. To stay below the limits it discards freed runs and mappings,
// as Alloc does.
func (a *Arena) charge(h *nodeLedger, pages int64) error {
	if a.tryCharge(h, pages) == nil {
		return nil
	}
	a.purging.Lock()
	defer a.purging.Unlock()
	for {
		err := a.tryCharge(h, pages)
		if err == nil {
			return nil
		}
		if err := a.makeRoom(h, pages, err); err != nil {
			return err
		}
	}
}

// makeRoom discards something for an attempt to charge pages that has failed with ErrLimit or
// ErrNodeLimit. It returns that error if the next attempt would fail, too. Preconditions: purging
// is held.
//
// It may miss a block that another goroutine takes meanwhile. Since full said that there is room
// beside the pages in use, the next attempt finds it or another block.
func (a *Arena) makeRoom(h *nodeLedger, pages int64, failure error) error {
	of, full := (*nodeLedger)(nil), a.full(pages)
	if failure == ErrNodeLimit {
		of, full = h, h.full(pages)
	}
	if full {
		return failure
	}
	if _, refused := a.discardLargest(of); refused != nil {
		return failure
	}
	return nil
}

// Unmap frees a mapping by the address that Map returned. Its addresses stay reserved. Its pages
// stay resident for reuse, as Free's do and within the same bounds. ok is false for any other
// address, which changes nothing. For allocators.
func (a *Arena) Unmap(addr uintptr) (ok bool) {
	a.big.mu.Lock()
	m := a.big.live[addr]
	if m != nil {
		delete(a.big.live, addr)
		a.big.bytes -= int64(m.bytes)
		poison(addr, m.bytes)
		if !a.cfg.Lock {
			a.big.keep(m, a)
		}
	}
	a.big.mu.Unlock()
	if m == nil {
		return false
	}
	if a.cfg.Lock {
		a.discardMapping(m)
	}
	a.runs.Add(-1)
	a.trim()
	a.arm()
	return true
}

// discardMapping gives the pages of a mapping that no other goroutine knows of to the kernel. What
// the kernel refuses is kept. A mapping is committed each time it is handed out, so it need not
// stay locked, unlike a run.
func (a *Arena) discardMapping(m *mapping) {
	size := uintptr(m.charged) * mem.PageSize
	if a.cfg.Lock {
		// Before Linux 5.18 the discard fails if this does.
		_ = m.backing.unlock(m.backing.base, size)
	}
	if m.discardFrom(0) == nil {
		a.uncharge(m.home, m.charged)
		m.charged = 0
		followCoupling()
	} else {
		a.failures.Add(1)
	}
	a.putMapping(m)
	a.arm()
}

// discardFrom gives a mapping's memory to the kernel, from one of its pages on. If its last page is
// part of a huge page, the kernel may have made all of that resident, once more bytes were handed
// out than now, so all of it goes. Preconditions: the caller has taken the mapping.
func (m *mapping) discardFrom(page int64) error {
	from := uintptr(page) * mem.PageSize
	end := min(mem.AlignUp(uintptr(m.charged)*mem.PageSize, mem.PageSize<<hugeOrder), m.writable)
	if end <= from { // its memory was never writable
		return nil
	}
	return m.backing.discard(m.backing.base+from, end-from)
}

// putMapping makes a mapping that no other goroutine knows of a kept or a clean one.
func (a *Arena) putMapping(m *mapping) {
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	if m.charged > 0 {
		a.big.keep(m, a)
	} else {
		a.big.putClean(m)
	}
}

// putClean adds a mapping without pages. Preconditions: mu is held.
func (b *mappings) putClean(m *mapping) {
	b.clean[m.backing.size] = append(b.clean[m.backing.size], m)
}

// takeClean returns a clean mapping of that many reserved bytes, or nil.
func (b *mappings) takeClean(reserved uintptr) *mapping {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.clean[reserved]
	if len(list) == 0 {
		return nil
	}
	m := list[len(list)-1]
	b.clean[reserved] = list[:len(list)-1]
	return m
}

// MappingAt returns the start and the bytes of the mapping that contains addr; 0, 0 if there is
// none. It looks at every mapping. For allocators.
func (a *Arena) MappingAt(addr uintptr) (start uintptr, bytes int64) {
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	for start, m := range a.big.live {
		if addr-start < m.bytes {
			return start, int64(m.bytes)
		}
	}
	return 0, 0
}

// Mapping returns the bytes of the mapping that starts at addr, 0 if there is none. For allocators.
func (a *Arena) Mapping(addr uintptr) int64 {
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	if m := a.big.live[addr]; m != nil {
		return int64(m.bytes)
	}
	return 0
}
