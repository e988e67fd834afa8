package arena

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// nodeLedger counts the arena's pages that may be resident in one node's memory, as the arena's
// ledger counts those of all nodes. The pages of a node without memory count for the node whose
// memory they lie in:
//
//	charged = used + dirty + leaving of the zones that have this home + mappings of their nodes
//	dirty   = free[dirty].pages of these zones + pages of kept mappings of their nodes
//
// Pages are charged to a node's ledger and to the arena's in one hold of mu, the node's sum being
// raised last. So a refusal at either level changes neither sum: like an attempt at the arena's
// limit, one that fails can't make another one fail. What lowers a sum or moves pages between in
// use and dirty takes no lock.
type nodeLedger struct {
	ledger
	mu    sync.Mutex   // a leaf: held while pages are charged
	limit atomic.Int64 // bytes, or Unlimited
	node  numa.Node
	_     [2 * mem.CacheLine]byte
}

// A NodeLimitError says that a run or a mapping would exceed the limit of a node's memory. It
// matches ErrNodeLimit and ErrNoMemory. Sizes are bytes.
type NodeLimitError struct {
	// Node is the one that the arena may use no more memory of, or under a Config.Policy NoNode,
	// which stands for all.
	Node  numa.Node
	Limit int64 // Config.NodeLimit, or what SetNodeLimit has made of it
	InUse int64 // runs and mappings of that node, without freed ones
	Bytes int64 // needed
}

// Error names the node and the sizes.
func (e *NodeLimitError) Error() string {
	if e.Node == numa.NoNode {
		return fmt.Sprintf("%v: all nodes have %d of %d bytes in use, and %d more are needed", ErrNodeLimit, e.InUse, e.Limit, e.Bytes)
	}
	return fmt.Sprintf("%v: node %d has %d of %d bytes in use, and %d more are needed", ErrNodeLimit, e.Node, e.InUse, e.Limit, e.Bytes)
}

// Unwrap returns ErrNodeLimit.
func (e *NodeLimitError) Unwrap() error { return ErrNodeLimit }

// setHomes gives each zone the ledger of the node whose memory it has, with the limits of the
// config.
func (a *Arena) setHomes() {
	a.homes = make([]nodeLedger, len(a.zones))
	for i := range a.zones {
		z, h := &a.zones[i], &a.homes[i]
		h.node = z.node
		h.limit.Store(a.nodeLimit(z.node, a.cfg.NodeLimit))
		z.home = &a.homes[a.topo.Index(a.memoryOf(z.node)[0])]
	}
	if a.spread() {
		a.shareHome()
	}
}

// shareHome gives all zones one ledger, with the limits of all nodes together: under a policy of
// the arena the kernel takes from the others what one node has no room for.
func (a *Arena) shareHome() {
	h, all := &a.homes[0], int64(0)
	for i := range a.zones {
		z := &a.zones[i]
		z.home = h
		if limit := a.nodeLimit(z.node, a.cfg.NodeLimit); a.topo.HasMemory(z.node) && all < Unlimited-limit {
			all += limit
		} else if a.topo.HasMemory(z.node) {
			all = Unlimited
		}
	}
	h.node = numa.NoNode
	h.limit.Store(all)
}

// leastSpare is what an automatic limit leaves of a node's memory at least, in bytes: the kernel
// keeps up to 22 MiB of each node free, and the page map is there, too. Of a small node it leaves a
// quarter.
const leastSpare = 32 << 20

// nodeLimit is the limit in bytes that n stands for: 0 is the node's memory less a tenth, or
// Unlimited where the topology doesn't tell it.
func (a *Arena) nodeLimit(node numa.Node, n int64) int64 {
	if n != 0 {
		return max(n, 0)
	}
	total, _ := a.topo.Memory(node)
	if total == 0 {
		return Unlimited
	}
	return total - max(total/10, min(leastSpare, total/4))
}

// homeOf returns the ledger for the memory of a node of the topology.
func (a *Arena) homeOf(node numa.Node) *nodeLedger { return a.zones[a.topo.Index(node)].home }

// NodeLimit returns the bound in force on what may be resident in a node's memory, in bytes, or
// Unlimited. For a node without memory it is that of the node which it takes memory from. Under a
// Config.Policy it is the sum for all nodes. Any goroutine.
//
// Errors: ErrNode.
func (a *Arena) NodeLimit(node numa.Node) (int64, error) {
	if a.topo.Index(node) < 0 {
		return 0, fmt.Errorf("%w: node %d", ErrNode, node)
	}
	return a.homeOf(node).limit.Load(), nil
}

// SetNodeLimit changes the bound on what may be resident in one node's memory to n bytes, and
// discards freed runs and mappings there that exceed it. As in Config, 0 is automatic, which reads
// the node's memory again, and Unlimited is no bound. Unlike there, n may be less than a page:
// then, as with None, the arena hands out no more memory of the node. Runs and mappings that are
// handed out stay, and what the kernel refuses to discard stays charged. Any goroutine.
//
// Errors: ErrNode, also for a node without memory, and under a Config.Policy: it has no limit of
// its own.
func (a *Arena) SetNodeLimit(node numa.Node, n int64) error {
	i := a.topo.Index(node)
	switch {
	case a.spread():
		return fmt.Errorf("%w: under policy %v nodes have no limits of their own", ErrNode, a.cfg.Policy)
	case i < 0 || a.zones[i].home != &a.homes[i]:
		return fmt.Errorf("%w: node %d has no memory of its own", ErrNode, node)
	}
	h := &a.homes[i]
	limit := a.nodeLimit(node, n)
	h.limit.Store(limit)
	a.purging.Lock()
	defer a.purging.Unlock()
	for {
		charged, dirty := h.load()
		if dirty == 0 || charged*mem.PageSize <= limit {
			return nil
		}
		if n, err := a.discardLargest(h); n == 0 || err != nil {
			return nil
		}
	}
}

// MostAtOnce returns the bytes that one run or mapping can have at most: the smaller one of the
// arena's limit and the largest limit of a node. For allocators.
func (a *Arena) MostAtOnce() int64 {
	var most int64
	for i := range a.zones {
		most = max(most, a.zones[i].home.limit.Load())
	}
	return min(most, a.limit.Load())
}

// tryCharge adds n pages that are about to leave the clean state to the ledgers, unless they don't
// fit. Errors: ErrNodeLimit, ErrLimit.
func (a *Arena) tryCharge(h *nodeLedger, n int64) error {
	return a.chargeBoth(h, n, uint64(n)<<32, func(limit int64) bool { return a.ledger.charge(n, limit) })
}

// tryChargeDirty is tryCharge for pages that become dirty without being handed out.
func (a *Arena) tryChargeDirty(h *nodeLedger, n int64) error {
	return a.chargeBoth(h, n, uint64(n)<<32+uint64(n), func(limit int64) bool { return a.ledger.chargeDirty(n, limit) })
}

// tryChargeKept makes n dirty pages used ones and charges more, or does neither.
func (a *Arena) tryChargeKept(h *nodeLedger, n, more int64) error {
	return a.chargeBoth(h, more, uint64(more)<<32-uint64(n), func(limit int64) bool { return a.ledger.chargeKept(n, more, limit) })
}

// chargeBoth charges n pages to the arena's ledger by the given function, and adds the same, as a
// difference of the word, to the node's.
func (a *Arena) chargeBoth(h *nodeLedger, n int64, difference uint64, charge func(limit int64) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n > 0 && !h.fits(n, h.limit.Load()) {
		return ErrNodeLimit
	}
	if !charge(a.limit.Load()) {
		return ErrLimit
	}
	h.word.Add(difference)
	return nil
}

// room returns the error that tryCharge would return now.
func (a *Arena) room(h *nodeLedger, n int64) error {
	switch {
	case !h.fits(n, h.limit.Load()):
		return ErrNodeLimit
	case !a.ledger.fits(n, a.limit.Load()):
		return ErrLimit
	}
	return nil
}

// uncharge subtracts n leaving pages that are clean again from the ledgers.
func (a *Arena) uncharge(h *nodeLedger, n int64) {
	a.ledger.uncharge(n)
	h.uncharge(n)
}

// addDirty and subDirty change the number of dirty pages, which stay charged.
func (a *Arena) addDirty(h *nodeLedger, n int64) {
	a.ledger.addDirty(n)
	h.addDirty(n)
}

func (a *Arena) subDirty(h *nodeLedger, n int64) {
	h.subDirty(n)
	a.ledger.subDirty(n)
}

// full is Arena.full for the node's limit.
func (h *nodeLedger) full(n int64) bool {
	charged, dirty := h.load()
	return charged-dirty+n > h.limit.Load()/mem.PageSize
}

// failure returns the error of a call that needs that many pages. err is what the attempt returned.
func (h *nodeLedger) failure(err error, pages int64) error {
	if err != ErrNodeLimit {
		return err
	}
	charged, dirty := h.load()
	return &NodeLimitError{Node: h.node, Limit: h.limit.Load(), InUse: (charged - dirty) * mem.PageSize, Bytes: pages * mem.PageSize}
}
