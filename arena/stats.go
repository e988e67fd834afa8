package arena

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Stats is a snapshot. The figures of one node are of one instant, those of the nodes follow one
// another. All sizes are bytes.
type Stats struct {
	Name     string
	Nodes    []NodeStats // in the topology's order
	Limit    int64       // on Used + Free of all nodes, Mapped and MappedFree, or Unlimited
	Mappings uint64      // number of allocations larger than a run
	Mapped   int64       // their bytes
	// MappedFree has the bytes of freed mappings that are perhaps resident, those included that
	// are being discarded. They count as dirty, as Free of the nodes does.
	MappedFree int64
	Metadata   int64 // page map of all pages that were ever carved
	// Decayed counts the bytes that were given back in the background since New.
	Decayed int64
	// DiscardFailures counts the runs and mappings that the kernel would not discard. They stayed
	// in Free and MappedFree, and the next Purge tries again.
	DiscardFailures uint64
	// CommitFailures counts the times that the kernel would not make pages writable, populate or
	// lock them. Each failed an Alloc or Map with ErrCommit, unless it was done ahead of need.
	CommitFailures uint64
	// ObservedBy says how the kernel was asked where pages lie, see numa.Observe; empty if it could
	// not be, or need not, and NotObserved is the reason.
	ObservedBy, NotObserved string
	// Reclaim says what was given back before allocations failed.
	Reclaim ReclaimStats
}

// NodeStats has the figures of one node's part. Used + Free + Purged is what was ever carved of
// Reserved; the rest was never touched.
type NodeStats struct {
	Node     numa.Node
	Reserved int64  // address space
	Used     int64  // allocated runs
	Free     int64  // freed and perhaps resident; includes what is being discarded
	Purged   int64  // free and not resident: discarded or never used
	Runs     uint64 // number of allocated runs
	// Charged is what counts for the node's limit: Used and Free of its part of the range and of
	// the parts of nodes without memory that take from it, and mappings with their freed pages.
	// Under a Config.Policy the first node has the sums of all.
	Charged   int64
	Limit     int64  // on Charged, or Unlimited; both are 0 without memory, and under a Policy
	Placement string // how the kernel places this node's part, see numa.Placement; what has changed

	// Where pages in use were, when the kernel was last asked, see Config.Observe.
	Sampled   int64  // pages it was asked about, those that have memory
	Elsewhere int64  // those of them that lay on another node
	Misplaced int64  // pages in use that lie on another node, estimated from these
	Moved     uint64 // pages that were moved to this node since New
}

// MisplacedShare is the share of the sampled pages that lay on another node, from 0 to 1.
func (n NodeStats) MisplacedShare() float64 {
	if n.Sampled == 0 {
		return 0
	}
	return float64(n.Elsewhere) / float64(n.Sampled)
}

// Stats returns the figures. It takes each node's lock for a few loads and makes no system call.
// Any goroutine may call it at any time, also after Close.
func (a *Arena) Stats() Stats {
	s := Stats{
		Name:            a.cfg.Name,
		Nodes:           make([]NodeStats, len(a.zones)),
		Limit:           a.limit.Load(),
		Decayed:         a.decay.released.Load(),
		DiscardFailures: a.failures.Load(),
		CommitFailures:  a.refusals.Load(),
		Reclaim:         a.reclaim.stats(),
	}
	s.ObservedBy, s.NotObserved = a.observer.source()
	a.big.mu.Lock()
	s.Mappings, s.Mapped, s.MappedFree = uint64(len(a.big.live)), a.big.bytes, a.big.free
	a.big.mu.Unlock()
	for i := range a.zones {
		n := &s.Nodes[i]
		*n = a.zones[i].stats()
		if h := &a.homes[i]; a.zones[i].home == h {
			charged, _ := h.load()
			n.Charged, n.Limit = charged*mem.PageSize, h.limit.Load()
		}
		a.observer.observation(i, n)
		s.Metadata += (n.Used + n.Free + n.Purged) / mem.PageSize * pageMapBytes
	}
	return s
}

func (z *zone) stats() NodeStats {
	z.mu.Lock()
	defer z.mu.Unlock()
	bytes := func(pages uint32) int64 { return int64(pages) * mem.PageSize }
	return NodeStats{
		Node:      z.node,
		Reserved:  bytes(z.end - z.first),
		Used:      bytes(z.used),
		Free:      bytes(z.free[dirty.area()].pages) + bytes(z.leaving),
		Purged:    bytes(z.free[clean.area()].pages),
		Runs:      uint64(z.runs),
		Placement: z.placement,
	}
}
