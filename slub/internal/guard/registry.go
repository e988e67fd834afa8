package guard

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// registry has the pools of all arenas: one for each node that a guarded object was allocated on.
// An arena has pools while a cache of it is open that guards objects.
var registry = struct {
	mu     sync.Mutex
	arenas map[*arena.Arena]*arenaPools
	areas  []*sys.GuardArea // watched ones that no pool has
	pools  atomic.Pointer[[]*Pool]
}{arenas: map[*arena.Arena]*arenaPools{}}

type arenaPools struct {
	caches int
	nodes  []*Pool // by node index; nil: none yet
	// After a failure to make a pool the next calls of For don't try, twice as many as after the
	// one before it. Under registry.mu.
	failures, untried int
}

// maxUntried is the most calls of For that don't try to make a pool. An attempt takes about as long
// as ten guarded objects.
const maxUntried = 1 << 10

// counts are of all pools, those that were given back included.
var counts struct{ allocated, skipped, reports, unguarded atomic.Int64 }

// Join notes that a cache of the arena may guard objects, Leave that it is closed. The pools of the
// arena go back with the last cache.
func Join(a *arena.Arena) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	of := registry.arenas[a]
	if of == nil {
		of = &arenaPools{nodes: make([]*Pool, a.Topology().NodeCount())}
		registry.arenas[a] = of
	}
	of.caches++
}

// Leave is described with Join.
func Leave(a *arena.Arena) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	of := registry.arenas[a]
	if of.caches--; of.caches > 0 {
		return
	}
	delete(registry.arenas, a)
	for _, p := range of.nodes {
		if p != nil {
			publish(slices.DeleteFunc(slices.Clone(pools()), func(q *Pool) bool { return q == p }))
			p.giveBack()
		}
	}
}

// least is the limit from which on an arena has pools, in their size: below it a pool would be too
// large a part of the arena.
const least = 64

// For returns the pool of a node of an arena that a cache has joined, or nil if there is none: the
// arena's limit is too low, it has no room, or the kernel refuses what a pool needs. It makes the
// pool at the first call, and after a failure tries again, at ever longer intervals.
func For(a *arena.Arena, node int) *Pool {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	of := registry.arenas[a]
	if of == nil {
		return nil
	}
	if p := of.nodes[node]; p != nil {
		return p
	}
	if of.untried > 0 {
		of.untried--
		return nil
	}
	if l := a.Limit(); l != arena.Unlimited && l < least*poolPages*mem.PageSize || a.NearLimit() {
		return nil
	}
	p, err := newPool(a, node)
	if err != nil {
		// The kernel may have refused for lack of memory or mappings, of which there may be more
		// later.
		of.untried = min(1<<of.failures, maxUntried)
		of.failures = min(of.failures+1, 10)
		return nil
	}
	of.failures = 0
	of.nodes[node] = p
	publish(append(slices.Clone(pools()), p))
	return p
}

func pools() []*Pool {
	if list := registry.pools.Load(); list != nil {
		return *list
	}
	return nil
}

// publish replaces the list that find reads. The caller holds registry.mu.
func publish(list []*Pool) { registry.pools.Store(&list) }

// takeArea returns a watched area for a pool whose pages begin at start. The caller holds
// registry.mu.
func takeArea(start uintptr) (*sys.GuardArea, error) {
	var area *sys.GuardArea
	if n := len(registry.areas); n > 0 {
		area = registry.areas[n-1]
		registry.areas = registry.areas[:n-1]
		for i := range area.Slots {
			area.Slots[i].State.Store(sys.GuardUnused)
		}
	} else {
		addr, err := sys.Reserve(mem.AlignUp(unsafe.Sizeof(*area), mem.PageSize))
		if err != nil {
			return nil, err
		}
		area = mem.At[sys.GuardArea](addr)
		if err := sys.WatchGuards(area); err != nil {
			// Nothing has seen the memory.
			_ = sys.Unmap(addr, mem.AlignUp(unsafe.Sizeof(*area), mem.PageSize))
			return nil, err
		}
	}
	area.Start = uint64(start)
	area.Pages.Store(poolPages) // from here on the handler reports
	return area, nil
}

// giveArea takes an area back. The handler has no other way to know that nothing uses it than to
// find it at all times, so it stays mapped. The caller holds registry.mu.
func giveArea(area *sys.GuardArea) {
	area.Pages.Store(0)
	registry.areas = append(registry.areas, area)
}

// Skip counts an allocation that should have been guarded and was not.
func Skip() { counts.skipped.Add(1) }

// Stats are figures of all pools.
type Stats struct {
	InUse                                  int // objects
	Allocated, Skipped, Reports, Unguarded int64
}

// ReadStats reads the figures, which belong to slightly different moments.
func ReadStats() Stats {
	s := Stats{Allocated: counts.allocated.Load(), Skipped: counts.skipped.Load(), Reports: counts.reports.Load(),
		Unguarded: counts.unguarded.Load()}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	for _, p := range pools() {
		s.InUse += p.inUse()
		s.Reports += int64(p.area.Reports.Load())
	}
	for _, area := range registry.areas {
		s.Reports += int64(area.Reports.Load())
	}
	return s
}
