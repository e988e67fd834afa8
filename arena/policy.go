package arena

import (
	"fmt"
	"slices"

	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/numa"
)

// Under a policy other than numa.Local all parts of the range have the same policy, and so have all
// mappings. The parts are still those of the nodes, with locks and lists of their own, and a CPU
// allocates from its node's part; but a part's pages lie on any node, so that an object's address
// doesn't tell its node. All of them count in one ledger, since the kernel alone knows how many lie
// where, and takes from the other nodes what one has no room for.

// validatePolicy reports the problems of Policy and PolicyNodes.
func (c Config) validatePolicy(p *configerr.Problems) {
	switch c.Policy {
	case numa.Local:
		if len(c.PolicyNodes) > 0 {
			p.Add("PolicyNodes", "%v, but policy local takes none", c.PolicyNodes)
		}
		return
	case numa.Preferred:
		if len(c.PolicyNodes) == 0 {
			p.Add("PolicyNodes", "none, but policy preferred needs some")
		}
	case numa.Interleave, numa.WeightedInterleave:
	default:
		p.Add("Policy", "%v is none of local, preferred, interleave and weighted interleave", c.Policy)
	}
	if c.Strictness == numa.Off {
		p.Add("Policy", "%v, but with numa.Off nothing is asked of the kernel", c.Policy)
	}
	topology := c.Topology
	if topology == nil {
		topology = numa.System()
	}
	for _, n := range c.PolicyNodes {
		if topology.NodeCount() > 0 && !topology.HasMemory(n) {
			p.Add("PolicyNodes", "node %d has no memory", n)
		}
	}
}

// spread reports whether the arena has a policy under which an address doesn't tell its node.
func (a *Arena) spread() bool { return a.cfg.Policy != numa.Local }

// setPolicyNodes notes the nodes of a policy: those of the config or, if there are none or the
// process is bound to others, all with memory.
func (a *Arena) setPolicyNodes() {
	for _, n := range a.topo.Nodes() {
		if a.topo.HasMemory(n) && slices.Contains(a.cfg.PolicyNodes, n) {
			a.policyNodes = append(a.policyNodes, n)
		}
	}
	if len(a.policyNodes) == 0 {
		a.policyNodes = slices.Sorted(slices.Values(a.topo.Fallback(numa.NoNode)))
	}
}

// policy is what bind and Map ask of the kernel for memory of a node.
func (a *Arena) policy(node numa.Node) numa.Policy {
	if a.spread() {
		return numa.Policy{Mode: a.cfg.Policy, Strictness: a.cfg.Strictness, Nodes: a.policyNodes}
	}
	p := numa.Policy{Mode: numa.Preferred, Strictness: a.cfg.Strictness, Nodes: a.memoryOf(node)}
	if p.Strictness == numa.Strict {
		p.Mode = numa.Bind
	}
	return p
}

// older returns the policy to ask for where the kernel is too old for p, if there is one.
func older(p numa.Policy) (numa.Policy, bool) {
	switch {
	case p.Strictness == numa.Strict:
		return p, false
	case p.Mode == numa.WeightedInterleave: // before Linux 6.9
		p.Mode = numa.Interleave
	case p.Mode == numa.Preferred && len(p.Nodes) > 1: // before Linux 5.15
		p.Nodes = p.Nodes[:1]
	default:
		return p, false
	}
	return p, true
}

// placementText is how Stats describes the placement of a node's part. asked is the policy that was
// asked for last.
func (a *Arena) placementText(node numa.Node, p numa.Placement, asked numa.Policy) string {
	switch {
	case a.spread() && p.Outcome == numa.Bound && asked.Mode != a.cfg.Policy:
		return fmt.Sprintf("%v (%v %v, the kernel has no %v)", p, asked.Mode, asked.Nodes, a.cfg.Policy)
	case a.spread():
		return fmt.Sprintf("%v (%v %v)", p, asked.Mode, asked.Nodes)
	case asked.Nodes[0] != node:
		return fmt.Sprintf("%v (node %d)", p, asked.Nodes[0])
	}
	return p.String()
}

// judgeSpread makes PlacementError say that no node's memory can be had under the arena's policy.
func (a *Arena) judgeSpread() {
	o := &a.observer
	o.why = fmt.Sprintf("the arena's policy is %v", a.cfg.Policy)
	o.judges = len(a.topo.Fallback(numa.NoNode)) > 1 && !heapBacked
	for i := range a.zones {
		reason := o.why + ", an address doesn't tell its node"
		o.errs[i].Store(&PlacementError{Node: a.zones[i].node, Reason: reason})
	}
}
