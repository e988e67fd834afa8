package arena

import (
	"context"
	"log/slog"
	"slices"

	"github.com/slubd/slubd/numa"
)

// updateNodes finds out which nodes have memory now that the process may use: cpusets change, and
// the memory of a node can be taken offline and come back. It reports whether anything has changed.
//
// The kernel itself follows: it moves what was on the node, and takes pages from others from then
// on. Where the node is back, so is the policy that the kernel has accepted; a zone whose policy it
// had refused is bound again. mend moves the pages back.
func (a *Arena) updateNodes() (changed bool) {
	o := &a.observer
	memory, noMemory := a.topo.MemoryNow()
	allowed, noAllowed := a.cfg.kernelView.allowed()
	for i := range a.zones {
		node := a.zones[i].node
		if !a.topo.HasMemory(node) {
			continue
		}
		lost := ""
		switch {
		case noMemory == nil && !slices.Contains(memory, node):
			lost = "the node's memory is offline"
		case noAllowed == nil && !slices.Contains(allowed, node):
			lost = "cpuset.mems excludes the node"
		}
		o.mu.Lock()
		before, granted := o.nodes[i].lost, o.nodes[i].granted
		o.nodes[i].lost = lost
		o.mu.Unlock()
		if before == lost {
			continue
		}
		changed = true
		if lost == "" && !granted {
			granted = a.bindAgain(i)
		}
		if a.cfg.Strictness == numa.Strict && (lost == "" && granted || lost != "" && a.others(i)) {
			a.zones[i].excluded.Store(lost != "")
		}
	}
	return changed
}

// others reports whether another zone can be used, under numa.Strict.
func (a *Arena) others(i int) bool {
	for k := range a.zones {
		if k != i && a.topo.HasMemory(a.zones[k].node) && !a.zones[k].excluded.Load() {
			return true
		}
	}
	return false
}

// bindAgain binds a zone that the kernel had refused to bind, and reports whether it has now.
func (a *Arena) bindAgain(i int) bool {
	z := &a.zones[i]
	policy := a.policy(z.node)
	placement, err := a.place(&a.backing, policy, a.Addr(z.first), z.bytes())
	if err != nil || placement.Outcome != numa.Bound {
		return false
	}
	a.pages.bind(policy.Nodes, z.first, z.end)
	z.mu.Lock()
	z.placement = placement.String()
	z.mu.Unlock()
	a.observer.mu.Lock()
	a.observer.nodes[i].granted = true
	a.observer.mu.Unlock()
	return true
}

// logPlacement logs that what is known of a node's memory has changed, each time.
func (a *Arena) logPlacement(node numa.Node, before, now *PlacementError) {
	a.host.mu.Lock()
	l := a.host.logger
	a.host.mu.Unlock()
	switch {
	case l == nil || !a.ready.Load(): // logHost tells what was so from the start
	case now == nil:
		l.LogAttrs(context.Background(), slog.LevelInfo, "slubd: memory lies on its node again", slog.String("arena", a.cfg.Name),
			slog.Int("node", int(node)), slog.String("before", before.Reason))
	default:
		l.LogAttrs(context.Background(), slog.LevelWarn, "slubd: memory doesn't lie on its node", slog.String("arena", a.cfg.Name),
			slog.Int("node", int(node)), slog.String("reason", now.Reason))
	}
}
