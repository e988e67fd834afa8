package arena

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Stats is a snapshot: each node's figures belong together, the nodes follow
// one another. All sizes are bytes.
type Stats struct {
	Name     string
	Nodes    []NodeStats // in the topology's order
	Limit    uint64      // on Used + Free of all nodes and Mapped, 0: none
	Mappings uint64      // allocations larger than a run, a number
	Mapped   uint64      // their bytes
	Metadata uint64      // page map of all that was ever carved
	// Decayed is the bytes that were given back in the background, ever.
	Decayed uint64
	// DiscardFailures counts the runs that the kernel would not discard; they
	// stayed in Free, and the next Purge tries again.
	DiscardFailures uint64
}

// NodeStats is one node's part. Used + Free + Purged is what was ever carved
// of Reserved; the rest was never touched.
type NodeStats struct {
	Node      numa.Node
	Reserved  uint64 // address space
	Used      uint64 // allocated runs
	Free      uint64 // freed, may be resident; includes what is being discarded
	Purged    uint64 // free and not resident: discarded or never used
	Runs      uint64 // allocated, a number
	Placement string // what the kernel made of the wish for this node
}

// Stats returns the figures. It takes each node's lock for a few loads, makes
// no system call, and may be called at any time, after Close as well.
func (a *Arena) Stats() Stats {
	s := Stats{
		Name:            a.cfg.Name,
		Nodes:           make([]NodeStats, len(a.zones)),
		Limit:           a.limit.Load(),
		Decayed:         a.decay.released.Load(),
		DiscardFailures: a.failures.Load(),
	}
	a.big.mu.Lock()
	s.Mappings, s.Mapped = uint64(len(a.big.live)), a.big.bytes
	a.big.mu.Unlock()
	for i := range a.zones {
		n := &s.Nodes[i]
		*n = a.zones[i].stats()
		s.Metadata += (n.Used + n.Free + n.Purged) / mem.PageSize * pageMapBytes
	}
	return s
}

func (z *zone) stats() NodeStats {
	z.mu.Lock()
	defer z.mu.Unlock()
	bytes := func(pages uint32) uint64 { return uint64(pages) * mem.PageSize }
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
