package slub

import (
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/sheaves"
)

// Stats is a reading of a cache. Counters are exact to the operation once the
// operations in question have returned; counters and gauges of one reading belong
// to slightly different moments while the cache is in use.
type Stats struct {
	Name                                 string
	ID                                   uint32
	Size, SlotSize, Align                uintptr // bytes; SlotSize is from one object to the next
	ObjectsPerSlab, Order, SheafCapacity int
	Aliases                              int // other caches with the same slabs and counters
	Events                               [NumEvents]uint64
	AllocCPUSheaf, FreeCPUSheaf          uint64 // AllocFastpath and FreeFastpath, by the names of kernels before 7.0, alloc_cpu_sheaf and free_cpu_sheaf
	AllocFailures                        uint64 // allocations that returned an error, ErrWouldBlock aside
	ForeignFrees                         uint64 // pointers that Free refused
	InUse                                uint64 // objects that users hold; FreeRCU and FreeDeferred end it, prefilled ones count when returned
	SheafObjects                         uint64 // free objects in per-CPU sheaves
	RCUObjects                           uint64 // objects that wait for a grace period
	DeferredObjects                      uint64 // objects given to FreeDeferred that are not free yet
	Prefilled                            uint64 // sheaves that Prefill has lent and that are not returned
	MaxBarnFull, MaxBarnEmpty            int    // sheaves that a barn keeps
	Backlog                              BacklogStats
	RCUQueue                             QueueStats
	Nodes                                []NodeStats
}

// NodeStats is the part of a cache that lies on one node.
type NodeStats struct {
	Node                             numa.Node
	Slabs, Partial                   uint64 // slabs in all, and those with free objects listed
	Objects                          uint64 // that the slabs have room for
	FreeInSlabs                      uint64 // free objects in listed slabs
	BarnFull, BarnEmpty, BarnWaiting int    // sheaves
	BarnObjects                      uint64 // in full sheaves
}

// Stats reads the cache's counters and gauges. Any goroutine. It disturbs no fast
// path; it takes each node's and barn's lock for a moment.
func (c *Cache) Stats() Stats {
	s := Stats{Name: c.name, ID: c.id, Size: c.config.Size, SlotSize: c.layout.slot, Align: c.layout.align,
		ObjectsPerSlab: c.perSlab, Order: c.slabs.order, Aliases: c.Aliases()}
	for e := range NumEvents {
		s.Events[e] = c.slabs.counters.Sum(int(e))
	}
	s.AllocFailures = c.slabs.counters.Sum(int(allocFailed))
	s.ForeignFrees = c.slabs.counters.Sum(int(refused))
	q := &c.rcuQueue
	deferred := uint64(max(0, q.pending.Load()))
	s.Backlog = c.backlog.stats()
	s.RCUQueue = QueueStats{Linked: q.inChain.Load(), Waited: q.atOnce.Load(), Callback: q.byCallback.Load()}
	s.RCUObjects = deferred
	s.DeferredObjects = uint64(max(0, c.deferFree.pending.Load()))
	for i, node := range c.slabs.topology.Nodes() {
		n := &c.slabs.nodes[i]
		s.Nodes = append(s.Nodes, NodeStats{Node: node, Slabs: uint64(n.slabs.Load()),
			Partial: uint64(n.partial.Load()), Objects: uint64(n.objects.Load()), FreeInSlabs: c.slabs.freeInSlabs(i)})
	}
	if c.sheaves != nil {
		s.addSheaves(c.sheaves.Stats())
	}
	allocs := s.Events[AllocFastpath] + s.Events[AllocSlowpath] - c.slabs.counters.Sum(int(singleFailed)) +
		c.slabs.counters.Sum(int(loaned)) + c.slabs.counters.Sum(int(keptExpired))
	frees := s.Events[FreeFastpath] + s.Events[FreeSlowpath] + s.Events[FreeRCUSheaf] + deferred + s.DeferredObjects
	s.InUse = uint64(max(0, int64(allocs-frees)))
	return s
}

// sheafEvents are the kernel's names for what package sheaves counts.
var sheafEvents = [sheaves.NumEvents]Event{
	sheaves.RCUFail: FreeRCUSheafFail, sheaves.Flushed: SheafFlush, sheaves.Refilled: SheafRefill,
	sheaves.SheafAlloc: SheafAlloc, sheaves.SheafFree: SheafFree,
	sheaves.BarnGet: BarnGet, sheaves.BarnGetFail: BarnGetFail, sheaves.BarnPut: BarnPut, sheaves.BarnPutFail: BarnPutFail,
	sheaves.PrefillFast: SheafPrefillFast, sheaves.PrefillSlow: SheafPrefillSlow, sheaves.PrefillOversize: SheafPrefillOversize,
	sheaves.ReturnFast: SheafReturnFast, sheaves.ReturnSlow: SheafReturnSlow,
	sheaves.NodeMismatch: AllocNodeMismatch,
}

func (s *Stats) addSheaves(set sheaves.Stats) {
	s.SheafCapacity, s.MaxBarnFull, s.MaxBarnEmpty = set.Capacity, set.MaxFull, set.MaxEmpty
	for e, n := range set.Events {
		s.Events[sheafEvents[e]] += n
	}
	s.Events[AllocFastpath], s.Events[FreeFastpath] = set.Pops, set.Pushes
	s.Events[FreeRCUSheaf] = set.RCUPushes
	s.AllocCPUSheaf, s.FreeCPUSheaf = set.Pops, set.Pushes
	s.SheafObjects, s.Prefilled = set.MainObjects, set.Loans
	s.RCUObjects += set.RCUObjects
	for i, b := range set.Barns {
		n := &s.Nodes[i]
		n.BarnFull, n.BarnEmpty, n.BarnWaiting, n.BarnObjects = b.Full, b.Empty, b.Waiting, b.Objects
		s.RCUObjects += b.WaitingObjects
	}
}
