package arena

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Arena hands out page runs of one reserved range, of which every node owns an
// equal part. All methods may be called by any goroutine.
type Arena struct {
	// Set by New and never changed.
	base  uintptr // aligned to the largest run
	size  uintptr // bytes, a multiple of the span
	shift uint8   // log2 of the span
	pages pagemap
	zones []zone // by topology index
	topo  *numa.Topology
	room  backing // the range
	cfg   Config

	_ [2 * mem.CacheLine]byte // every Free in the process reads the above

	ledger ledger        // pages that may be resident
	limit  atomic.Uint64 // bytes, 0: none
	runs   atomic.Int64  // allocated runs and Allocs under way; negative: closed

	// purging is held while runs are discarded, so that whoever got it knows
	// of no pages that are about to become free. Taken before any zone's mu.
	purging  sync.Mutex
	failures atomic.Uint64 // discards that the kernel refused
	decay    decay         // idle pages, in the background

	big mappings // what is larger than a run
}

// New reserves the range and its page map.
//
// A refused reservation (RLIMIT_AS, strict overcommit) is halved until the
// kernel agrees, and then once more: whoever refuses has a budget, and the
// rest of the process, the Go heap first of all, lives on what is left of it.
// The span isn't halved below 64 MiB.
//
// Errors: ErrConfig, ErrPageSize, ErrReserve, ErrUnsupported of internal/sys
// outside Linux, and under numa.Strict the kernel's refusal to bind.
func New(cfg Config) (*Arena, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := checkPageSize(cfg.kernelPage); err != nil {
		return nil, err
	}
	cfg.Name = takeName(cfg.Name)
	a := &Arena{cfg: cfg, topo: cfg.Topology}
	a.big.live, a.big.idle = make(map[uintptr]*mapping), make(map[uintptr][]*mapping)
	a.limit.Store(cfg.Limit)
	if err := a.reserve(); err != nil {
		dropName(cfg.Name)
		return nil, fmt.Errorf("arena %s: %w", cfg.Name, err)
	}
	if err := a.bind(); err != nil {
		dropName(cfg.Name)
		return nil, errors.Join(fmt.Errorf("arena %s: %w", cfg.Name, err), a.unreserve())
	}
	a.startDecay()
	return a, nil
}

// Default returns the arena that caches use which are not given one, made by
// the first call. Its error is the same for every call.
func Default() (*Arena, error) { return defaultArena() }

var defaultArena = sync.OnceValues(func() (*Arena, error) { return New(Config{Name: "default"}) })

func checkPageSize(kernel int) error {
	if kernel == 0 {
		kernel = os.Getpagesize()
	}
	if kernel != mem.PageSize {
		return fmt.Errorf("%w: %d bytes", ErrPageSize, kernel)
	}
	return nil
}

// reserve sets up range and page map with the span that New explains.
func (a *Arena) reserve() error {
	want := uintptr(a.cfg.Span)
	floor := min(want, spanFloor)
	span, err := want, a.reserveSpan(want)
	for err != nil && !errors.Is(err, errors.ErrUnsupported) && span/2 >= floor {
		span /= 2
		err = a.reserveSpan(span)
	}
	if err == nil && span < want && span/2 >= floor {
		if err = a.unreserve(); err == nil {
			err = a.reserveSpan(span / 2)
		}
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrReserve, err)
	}
	return err
}

// reserveSpan sets up range and page map, or nothing.
func (a *Arena) reserveSpan(span uintptr) error {
	nodes := a.topo.Nodes()
	size := span * uintptr(len(nodes))
	room, err := newBacking(size)
	if err != nil {
		return err
	}
	pages, err := newPagemap(size / mem.PageSize)
	if err != nil {
		return errors.Join(err, room.release())
	}
	a.room, a.pages = room, pages
	a.base, a.size, a.shift = room.base, size, uint8(bits.TrailingZeros64(uint64(span)))
	a.zones = make([]zone, len(nodes))
	for i, n := range nodes {
		z := &a.zones[i]
		z.node, z.pages = n, &a.pages
		z.first = uint32(uintptr(i) * span / mem.PageSize)
		z.end = z.first + uint32(span/mem.PageSize)
		z.bump = z.first
	}
	return nil
}

// bind asks for each zone's pages, and its part of the page map, to lie on its
// node, or for a node without memory on the nearest with some. Where the map
// lies is a matter of speed only, so that refusal doesn't count.
func (a *Arena) bind() error {
	a.room.advise(a.cfg.HugePages)
	for i := range a.zones {
		z := &a.zones[i]
		policy := a.policy(z.node)
		placement, err := a.room.bind(policy, a.Addr(z.first), a.Span())
		if err != nil {
			return fmt.Errorf("node %d: %w", z.node, err)
		}
		if z.placement = placement.String(); policy.Nodes[0] != z.node {
			z.placement += fmt.Sprintf(" (node %d)", policy.Nodes[0])
		}
		if a.cfg.Strictness != numa.Off {
			a.pages.bind(policy.Nodes, z.first, z.end)
		}
	}
	return nil
}

// policy is what the kernel is asked for memory of a node.
func (a *Arena) policy(node numa.Node) numa.Policy {
	p := numa.Policy{Mode: numa.Preferred, Strictness: a.cfg.Strictness, Nodes: a.topo.Fallback(node)[:1]}
	if p.Strictness == numa.Strict {
		p.Mode = numa.Bind
	}
	return p
}

// unreserve undoes reserveSpan. Preconditions: no run was ever handed out.
func (a *Arena) unreserve() error {
	return errors.Join(a.room.release(), a.pages.release())
}

// Topology returns the nodes that the arena was made for.
func (a *Arena) Topology() *numa.Topology { return a.topo }

// Base returns the address of page 0.
func (a *Arena) Base() uintptr { return a.base }

// Pages returns the number of pages in the range.
func (a *Arena) Pages() uint32 { return uint32(a.size / mem.PageSize) }

// Span returns the bytes that each node owns, a power of two.
func (a *Arena) Span() uintptr { return 1 << a.shift }

// Addr returns the address of a page, without a check.
func (a *Arena) Addr(page uint32) uintptr { return a.base + uintptr(page)*mem.PageSize }

// PageOf returns the page that an address lies in; ok is false outside the range.
func (a *Arena) PageOf(addr uintptr) (page uint32, ok bool) {
	off := addr - a.base
	return uint32(off / mem.PageSize), off < a.size
}

// NodeIndex returns the topology's index of the node that owns an address, or
// -1 outside the range. It loads no memory but a's first lines.
func (a *Arena) NodeIndex(addr uintptr) int {
	if off := addr - a.base; off < a.size {
		return int(off >> a.shift)
	}
	return -1
}

// NodeOf returns the node that owns an address, or numa.NoNode outside the
// range. The page may still lie elsewhere, see numa.Where.
func (a *Arena) NodeOf(addr uintptr) numa.Node {
	if i := a.NodeIndex(addr); i >= 0 {
		return a.topo.Nodes()[i]
	}
	return numa.NoNode
}

// zoneOf returns the zone of a page, or nil outside the range.
func (a *Arena) zoneOf(page uint32) *zone {
	if i := a.NodeIndex(a.Addr(page)); i >= 0 {
		return &a.zones[i]
	}
	return nil
}
