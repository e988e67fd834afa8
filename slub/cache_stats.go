package slub

import (
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// Stats is a reading of a cache. A counter is exact once the operations that it counts have
// returned. While the cache is in use, the counters and gauges of one reading belong to slightly
// different moments.
type Stats struct {
	Name                                 string
	ID                                   uint32 // the cache's number; a later cache may get it
	Size, SlotSize, Align                int64  // bytes; SlotSize is from one object to the next
	ObjectsPerSlab, Order, SheafCapacity int
	Aliases                              int // other caches with the same slabs and counters
	Events                               [NumEvents]uint64
	// AllocCPUSheaf and FreeCPUSheaf are AllocFastpath and FreeFastpath by the names that kernels
	// before 7.0 have for them, alloc_cpu_sheaf and free_cpu_sheaf.
	AllocCPUSheaf, FreeCPUSheaf uint64
	// AllocFailures counts allocations with an error other than ErrWouldBlock, and Failures these
	// by reason. Close clears the former, as all counters of events, and keeps the latter.
	AllocFailures uint64
	Failures      [NumFailureReasons]uint64
	ForeignFrees  uint64 // pointers that Free refused
	// IsolatedSlabs is the number of slabs that are never used again, since the chain of their
	// free objects is damaged: an object was freed twice, or written to while it was free. They
	// are among the slabs and objects of Nodes.
	IsolatedSlabs uint64
	// InUse is the number of objects that users hold, those in prefilled sheaves included. FreeRCU
	// and FreeDeferred end an object's use. It is exact while no operation is running, whatever is
	// being reclaimed meanwhile, and otherwise off by no more than the objects of the operations
	// that overlap the reading.
	InUse                     uint64
	SheafObjects              uint64 // free objects in per-CPU sheaves
	RCUObjects                uint64 // objects that wait for a grace period
	DeferredObjects           uint64 // objects given to FreeDeferred that are not free yet
	Prefilled                 uint64 // sheaves lent by Prefill and not returned
	MaxBarnFull, MaxBarnEmpty int    // sheaves that a barn keeps
	Backlog                   BacklogStats
	RCUQueue                  QueueStats
	Nodes                     []NodeStats
	Remote                    RemoteStats
	Locals                    LocalStats
}

// RemoteStats counts what CPUs do in their sheaves with objects of other nodes than their own; see
// [sheaves.RemoteStats]. Only AllocNode allocates from these sheaves. So Frees divided by all
// frees is the share of freed objects that lie on another node than the CPU that freed them.
type RemoteStats = sheaves.RemoteStats

// NodeStats has the figures of a cache on one node.
type NodeStats struct {
	Node                             numa.Node
	Slabs, Partial                   uint64 // all but retired slabs, and those on the partial list
	Objects                          uint64 // objects in all slabs, free or in use
	FreeInSlabs                      uint64 // free objects in these, which are in no sheaf
	Retired                          uint64 // empty slabs that wait for a grace period
	BarnFull, BarnEmpty, BarnWaiting int    // sheaves
	BarnObjects                      uint64 // objects in full sheaves
	// Remote counts the objects that allocations and refills of other nodes' CPUs have taken from
	// slabs of this node, since these had none of their own, or no memory. A CPU allocates such an
	// object once at most: freed, it goes home. So the sum over nodes, divided by the allocations,
	// is the most that the share of remote allocations can be. AllocNode's objects don't count.
	Remote uint64
}

// Stats reads the cache's counters and gauges. Any goroutine, also after Close. It does not
// disturb the fast paths. It sums the counters of all CPUs and takes the lock of each barn for a
// moment, but looks at no slab: the cost does not grow with the cache.
func (c *Cache) Stats() Stats {
	s := Stats{Name: c.name, ID: c.id, Size: c.config.Size, SlotSize: int64(c.layout.slot), Align: int64(c.layout.align),
		ObjectsPerSlab: c.perSlab, Order: c.slabs.Order(), Aliases: c.Aliases()}
	counts := c.counters.Sums()
	copy(s.Events[:], counts[:])
	s.AllocFailures, s.ForeignFrees = counts[allocFailed], counts[refused]
	s.Failures = c.failures.read()
	s.IsolatedSlabs = uint64(c.slabs.Isolated())
	q := &c.freeQueue
	s.Backlog = c.backlog.stats()
	s.RCUQueue = QueueStats(q.Stats())
	s.RCUObjects = uint64(max(0, q.Pending()))
	s.DeferredObjects = uint64(max(0, c.deferFree.pending()))
	for i, node := range c.Arena().Topology().Nodes() {
		n := c.slabs.NodeStats(i)
		s.Nodes = append(s.Nodes, NodeStats{Node: node, Slabs: uint64(n.Slabs), Partial: uint64(n.Partial),
			Objects: uint64(n.Objects), FreeInSlabs: uint64(n.FreeInSlabs), Retired: uint64(n.Retired),
			Remote: uint64(n.Remote)})
	}
	drained := s.Events[drainedFast]
	s.Events[drainedFast] = 0
	var set sheaves.Stats
	if c.sheaves != nil {
		set = c.sheaves.Stats()
		s.addSheaves(set)
	}
	s.Locals = c.locals.stats()
	s.Events[AllocFastpath] += s.Locals.Allocs
	s.Events[FreeFastpath] += s.Locals.Frees
	s.AllocCPUSheaf, s.FreeCPUSheaf = s.Events[AllocFastpath], s.Events[FreeFastpath]
	s.InUse = c.inUse(&s, &counts, set.Lent)
	s.Events[FreeFastpath] += drained
	s.Events[FreeSlowpath] += counts[reclaimed]
	runtime.KeepAlive(c) // see lease
	return s
}

// inUse computes Stats.InUse from events that users' operations alone count, each in one step. What
// goes on with an object afterwards, in its grace period, in FreeDeferred's list or on the way from
// a sheaf to its slab, changes none of them. (A hook that keeps an object makes it one in use
// again, also in one step.) So a reading that no operation overlaps is exact, and another one
// misses or counts too much only what the operations that overlap it have done.
//
// When this is called, s.Events don't have drainedFast and reclaimed yet, which count objects that
// were counted when their use ended.
func (c *Cache) inUse(s *Stats, counts *[percpu.MaxCounters]uint64, lent uint64) uint64 {
	allocs := s.Events[AllocFastpath] + s.Events[AllocSlowpath] - counts[singleFailed] + lent + counts[loaned] + counts[kept]
	frees := s.Events[FreeFastpath] + s.Events[FreeSlowpath] + s.Events[FreeRCUSheaf] +
		uint64(c.freeQueue.Given()) + uint64(c.deferFree.given.Load())
	return uint64(max(0, int64(allocs-frees)))
}

func (s *Stats) addSheaves(set sheaves.Stats) {
	s.SheafCapacity, s.MaxBarnFull, s.MaxBarnEmpty = set.Capacity, set.MaxFull, set.MaxEmpty
	for e, n := range set.Events {
		s.Events[e] += n
	}
	s.SheafObjects, s.Prefilled, s.Remote = set.MainObjects, set.Loans, set.Remote
	s.RCUObjects += set.RCUObjects
	for i, b := range set.Barns {
		n := &s.Nodes[i]
		n.BarnFull, n.BarnEmpty, n.BarnWaiting, n.BarnObjects = b.Full, b.Empty, b.Waiting, b.Objects
		s.RCUObjects += b.WaitingObjects
	}
}
