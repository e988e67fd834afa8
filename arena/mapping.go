package arena

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// What is larger than the largest run gets addresses of its own. They are found by
// their start in a map, under a lock, since whoever asks for megabytes is not in a
// hurry.
//
// Their pages count in the ledger while a mapping is handed out, so that the limit
// bounds runs and mappings together. A freed mapping is discarded at once, and its
// addresses are kept for the next one of about its size: as with the range, a stale
// pointer must not come to point into the Go heap.

// A mapping is one reservation outside the range.
type mapping struct {
	room    backing
	bytes   uintptr // handed out, whole pages
	charged uint64  // pages in the ledger; those of an idle one are what the kernel would not discard
	node    numa.Node
}

type mappings struct {
	mu    sync.Mutex
	live  map[uintptr]*mapping   // by address
	idle  map[uintptr][]*mapping // by reserved bytes; the last one freed comes first
	bytes uint64                 // of live ones
}

// mappingClass is how many bytes are reserved for n: the next of eight steps to each
// power of two, so that freed ones fit others of about the size. What is not asked for
// is never touched, and costs addresses only.
func mappingClass(n uintptr) uintptr {
	step := uintptr(1) << max(0, bits.Len(uint(n-1))-4)
	return mem.AlignUp(n, max(maxRun, step))
}

// maxMapping bounds a mapping in bytes, as the ledger's sum of pages needs it.
const maxMapping = 1 << 43

// Map returns the address of n bytes, rounded up to pages, that are nobody else's until
// Unmap, aligned to 4 MiB. The kernel is asked to place them on node, as it is for runs.
// zero says that they read zero.
//
// Errors: ErrLimit, ErrReserve, ErrCommit and, for more than 8 TiB, ErrTooLarge, which match
// ErrNoMemory; ErrClosed, ErrNode. No bytes are ErrReserve.
func (a *Arena) Map(n uintptr, node numa.Node) (addr uintptr, zero bool, err error) {
	addr, zero, err = a.mapBytes(n, node)
	if err != nil {
		return 0, false, fmt.Errorf("%w (arena %s, %d bytes, node %d)", err, a.cfg.Name, n, node)
	}
	return addr, zero, nil
}

func (a *Arena) mapBytes(n uintptr, node numa.Node) (addr uintptr, zero bool, err error) {
	switch {
	case n == 0:
		return 0, false, ErrReserve
	case n > maxMapping:
		return 0, false, ErrTooLarge
	case a.topo.Index(node) < 0:
		return 0, false, ErrNode
	case a.runs.Add(1) < 0:
		return 0, false, ErrClosed
	}
	defer func() {
		if err != nil {
			a.runs.Add(-1)
		}
	}()
	bytes := mem.AlignUp(n, mem.PageSize)
	m, err := a.reserveMapping(mappingClass(bytes), node)
	if err != nil {
		return 0, false, err
	}
	m.bytes = bytes
	zero = m.charged == 0
	if err := a.charge(m); err != nil {
		a.park(m)
		return 0, false, err
	}
	followCoupling() // before the pages become resident
	if err := a.commitBytes(m.room.base, bytes); err != nil {
		a.drop(m)
		return 0, false, err
	}
	a.big.mu.Lock()
	a.big.live[m.room.base] = m
	a.big.bytes += uint64(bytes)
	a.big.mu.Unlock()
	return m.room.base, zero, nil
}

// reserveMapping finds an idle mapping or makes one.
func (a *Arena) reserveMapping(reserved uintptr, node numa.Node) (*mapping, error) {
	m := a.big.unpark(reserved)
	if m == nil {
		room, err := newBacking(reserved)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrReserve, err)
		}
		room.advise(a.cfg.HugePages)
		m = &mapping{room: room, node: numa.NoNode}
	}
	if m.node == node {
		return m, nil
	}
	// Pages that the kernel would not discard stay where they are.
	if _, err := m.room.bind(a.policy(node), m.room.base, reserved); err != nil {
		a.park(m)
		return nil, fmt.Errorf("%w: node %d: %w", ErrReserve, node, err)
	}
	m.node = node
	return m, nil
}

// charge puts the pages of m into the ledger, discarding freed runs to stay below the
// limit as Alloc does.
func (a *Arena) charge(m *mapping) error {
	pages := uint64(m.bytes / mem.PageSize)
	if pages <= m.charged {
		return nil
	}
	more := pages - m.charged
	if a.ledger.charge(more, a.limit.Load()) {
		m.charged = pages
		return nil
	}
	a.purging.Lock()
	defer a.purging.Unlock()
	for !a.ledger.charge(more, a.limit.Load()) {
		if a.full(more) {
			return ErrLimit
		}
		if n, refused := a.discardLargest(); n == 0 || refused != nil {
			return ErrLimit
		}
	}
	m.charged = pages
	return nil
}

// Unmap takes back what Map returned. Its pages go to the kernel at once, its addresses
// stay reserved. ok is false for any other address, which changes nothing.
func (a *Arena) Unmap(addr uintptr) (ok bool) {
	a.big.mu.Lock()
	m := a.big.live[addr]
	if m != nil {
		delete(a.big.live, addr)
		a.big.bytes -= uint64(m.bytes)
	}
	a.big.mu.Unlock()
	if m == nil {
		return false
	}
	a.drop(m)
	a.runs.Add(-1)
	return true
}

// drop discards what a mapping has and makes it idle. Unlike a run it is committed
// each time it is handed out, and so need not stay locked.
func (a *Arena) drop(m *mapping) {
	size := uintptr(m.charged) * mem.PageSize
	if a.cfg.Lock {
		_ = m.room.unlock(m.room.base, size) // refused, so is the discard
	}
	if m.room.discard(m.room.base, size) == nil {
		a.ledger.uncharge(m.charged)
		m.charged = 0
		followCoupling()
	} else {
		a.failures.Add(1)
	}
	a.park(m)
}

func (a *Arena) park(m *mapping) {
	a.big.mu.Lock()
	a.big.idle[m.room.size] = append(a.big.idle[m.room.size], m)
	a.big.mu.Unlock()
}

func (b *mappings) unpark(reserved uintptr) *mapping {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.idle[reserved]
	if len(list) == 0 {
		return nil
	}
	m := list[len(list)-1]
	b.idle[reserved] = list[:len(list)-1]
	return m
}

// Mapping returns the bytes of the mapping that starts at addr, 0 if there is none.
func (a *Arena) Mapping(addr uintptr) uintptr {
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	if m := a.big.live[addr]; m != nil {
		return m.bytes
	}
	return 0
}
