package arena

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/numa"
)

// Arena hands out page runs of one reserved range, of which every node owns a part. All methods may
// be called by any goroutine.
type Arena struct {
	// Set by New and never changed.
	base        uintptr  // aligned to the largest run
	size        uintptr  // bytes, a multiple of a part's
	partShift   uint8    // log2 of a part's bytes, see layout
	parts       []uint16 // by part: topology index of its node
	divided     layout
	pages       pagemap
	zones       []zone // by topology index
	topo        *numa.Topology
	policyNodes []numa.Node // of a policy other than numa.Local
	backing     backing     // the range
	reused      bool        // another arena had the range before
	cfg         Config
	ready       atomic.Bool // set by New when the fields above are; for Find

	_ [2 * mem.CacheLine]byte // every Free in the process reads the fields above

	ledger ledger       // pages that may be resident
	homes  []nodeLedger // the same by the node whose memory they lie in; by topology index
	limit  atomic.Int64 // bytes, or Unlimited
	runs   atomic.Int64 // allocated runs and Allocs under way; negative: closed

	// purging is held while freed pages are discarded. While a goroutine holds it, no page of
	// another is leaving. Taken before any zone's mu and big.mu.
	purging  sync.Mutex
	failures atomic.Uint64 // discards that the kernel refused
	refusals atomic.Uint64 // times that the kernel refused to commit memory
	decay    decay         // discards idle pages in the background
	follow   follow        // what the arena has the watch read for
	host     hostLog       // what a logger is told
	observer observer      // asks where pages lie

	big     mappings // allocations larger than a run
	reclaim reclaim  // what is asked before an allocation fails

	nodeMemory    *nodemem.Nodes // set by New
	companion     any            // of the allocator on top
	makeCompanion sync.Once
}

// New reserves the range and its page map.
//
// New halves a reservation that the kernel refuses (RLIMIT_AS, strict overcommit) until the kernel
// agrees, and then once more: a refusal means that there is a budget, and the rest of the process,
// above all the Go heap, needs part of it. It does not halve the span below 64 MiB.
//
// Errors: ErrConfig, ErrPageSize, ErrReserve; outside Linux one that is errors.ErrUnsupported;
// under numa.Strict the kernel's refusal to bind to a node that the process' cpuset allows, or
// numa.ErrAssumed.
func New(cfg Config) (*Arena, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := checkPageSize(cfg.kernelPage); err != nil {
		return nil, err
	}
	a := &Arena{cfg: cfg, topo: cfg.Topology}
	a.restrictTopology()
	a.setPolicyNodes()
	addName(a)
	a.big.live, a.big.clean = make(map[uintptr]*mapping), make(map[uintptr][]*mapping)
	a.big.kept = make(map[keptKey][]*mapping)
	a.reclaim.round = lock.NewTurn()
	if cfg.Limit != FollowMemory {
		a.limit.Store(cfg.Limit)
	}
	if err := a.reserve(); err != nil {
		removeName(a)
		return nil, fmt.Errorf("arena %s: %w", a.cfg.Name, err)
	}
	a.excludeZones()
	a.setHomes()
	a.backing.label("arena " + a.cfg.Name)
	a.pages.label(a.cfg.Name)
	if err := a.bind(); err != nil {
		removeName(a)
		return nil, errors.Join(fmt.Errorf("arena %s: %w", a.cfg.Name, err), a.giveRange())
	}
	a.host.logger = cfg.Logger
	a.logHost()
	a.startDecay()
	a.startObserver()
	a.nodeMemory = a.newNodeMemory()
	if a.cfg.Limit == FollowMemory {
		a.SetLimit(FollowMemory)
	}
	a.ready.Store(true)
	return a, nil
}

// Default returns the arena of caches that are given none. Its limit is FollowMemory. The first
// call that can make it does; all later ones return the same arena. After an error the next call
// tries again.
func Default() (*Arena, error) {
	if a := defaultArena.made.Load(); a != nil {
		return a, nil
	}
	defaultArena.mu.Lock()
	defer defaultArena.mu.Unlock()
	if a := defaultArena.made.Load(); a != nil {
		return a, nil
	}
	a, err := New(Config{Name: "default", Limit: FollowMemory})
	if err != nil {
		return nil, err
	}
	defaultArena.made.Store(a)
	return a, nil
}

var defaultArena struct {
	mu   sync.Mutex // held while the arena is made
	made atomic.Pointer[Arena]
}

// Companion returns what the first call's make has returned: a value that an allocator keeps for as
// long as there is the arena. For allocators, of which one at a time uses an arena.
func (a *Arena) Companion(make func() any) any {
	a.makeCompanion.Do(func() { a.companion = make() })
	return a.companion
}

func checkPageSize(kernel int) error {
	if kernel == 0 {
		kernel = os.Getpagesize()
	}
	if kernel != mem.PageSize {
		return fmt.Errorf("%w: %d bytes", ErrPageSize, kernel)
	}
	return nil
}

// reserve sets up the range and the page map. New's comment says with which span.
func (a *Arena) reserve() error {
	want := a.layout()
	floor := min(want.largest(), spanFloor)
	l, err := want, a.reserveLayout(want)
	for err != nil && !errors.Is(err, errors.ErrUnsupported) && l.largest()/2 >= floor {
		l = l.halved()
		err = a.reserveLayout(l)
	}
	if err == nil && l.largest() < want.largest() && l.largest()/2 >= floor && !a.reused {
		if err = a.unreserve(); err == nil {
			err = a.reserveLayout(l.halved())
		}
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrReserve, err)
	}
	return err
}

// reserveLayout sets up the range and the page map, or neither. It prefers those of a closed arena.
func (a *Arena) reserveLayout(l layout) error {
	nodes := a.topo.Nodes()
	r, err := takeRange(a.rangeKey(l), l.size())
	if err != nil {
		return err
	}
	a.backing, a.pages, a.reused = r.backing, r.pages, r.readable != nil
	a.base, a.size, a.partShift = r.backing.base, r.backing.size, uint8(bits.TrailingZeros64(uint64(l.part)))
	a.parts, a.divided = l.owners(), l
	a.zones = make([]zone, len(nodes))
	next := uint32(0)
	for i, n := range nodes {
		z := &a.zones[i]
		z.node, z.pages = n, &a.pages
		z.first = next
		z.end = z.first + uint32(uintptr(l.counts[i])*l.part/mem.PageSize)
		next = z.end
		z.bump, z.writable, z.mapped, z.small = z.first, z.first, z.first, z.first
		if a.reused {
			z.readable = r.readable[i]
		} else {
			z.readable = z.first
		}
	}
	return nil
}

// bind asks the kernel to place each zone's pages and its part of the page map on the zone's node,
// or on the nearest with memory if the node has none. Only speed depends on where the map lies, so
// a refusal of that is no error.
func (a *Arena) bind() error {
	a.backing.advise(a.cfg.HugePages)
	for i := range a.zones {
		z := &a.zones[i]
		if z.excluded.Load() {
			continue
		}
		policy := a.policy(z.node)
		placement, err := a.place(&a.backing, policy, a.Addr(z.first), z.bytes())
		if late, ok := older(policy); ok && err == nil && placement.Outcome != numa.Bound {
			policy = late
			placement, err = a.place(&a.backing, policy, a.Addr(z.first), z.bytes())
		}
		if err != nil {
			return fmt.Errorf("node %d: %w", z.node, err)
		}
		z.granted = placement.Outcome == numa.Bound
		z.placement = a.placementText(z.node, placement, policy)
		if a.binds() {
			a.pages.bind(a.memoryOf(z.node), z.first, z.end)
		}
	}
	return nil
}

// unreserve undoes reserveLayout. Preconditions: the range is not a reused one, and no run was ever
// handed out.
func (a *Arena) unreserve() error {
	return errors.Join(a.backing.unmap(), a.pages.unmap())
}
