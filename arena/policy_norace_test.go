//go:build !race

package arena

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// A policyKernel accepts policies of nodes that need not exist, but of some modes, and notes them.
type policyKernel struct {
	refuses func(numa.Policy) bool
	got     []numa.Policy
}

func (k *policyKernel) view() *kernelView {
	v := kernel
	v.bind = func(_ *backing, p numa.Policy, _, _ uintptr) (numa.Placement, error) {
		switch {
		case k.refuses == nil || !k.refuses(p):
			k.got = append(k.got, p)
			return numa.Placement{Outcome: numa.Bound}, nil
		case p.Strictness == numa.Strict:
			return numa.Placement{}, fmt.Errorf("%w: %w", numa.ErrRefused, syscall.EINVAL)
		}
		return numa.Placement{Reason: "refused"}, nil
	}
	return &v
}

// All parts of the range and all mappings have the policy of the config, or on an older kernel the
// one that comes closest.
func TestPolicyOfConfig(t *testing.T) {
	topo := load(t, testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30},
		testutil.SysNode{ID: 1, CPUs: []int{1}},
		testutil.SysNode{ID: 2, Memory: 1 << 30},
		testutil.SysNode{ID: 3, Memory: 1 << 30},
	))
	weighted := func(p numa.Policy) bool { return p.Mode == numa.WeightedInterleave }
	several := func(p numa.Policy) bool { return p.Mode == numa.Preferred && len(p.Nodes) > 1 }
	for _, c := range []struct {
		mode    numa.Mode
		nodes   []numa.Node
		refuses func(numa.Policy) bool
		want    numa.Policy
		text    string
	}{
		{mode: numa.Interleave, want: numa.Policy{Mode: numa.Interleave, Nodes: []numa.Node{0, 2, 3}}, text: "bound (interleave [0 2 3])"},
		{mode: numa.Interleave, nodes: []numa.Node{3, 0}, want: numa.Policy{Mode: numa.Interleave, Nodes: []numa.Node{0, 3}},
			text: "bound (interleave [0 3])"},
		{mode: numa.WeightedInterleave, want: numa.Policy{Mode: numa.WeightedInterleave, Nodes: []numa.Node{0, 2, 3}},
			text: "bound (weighted interleave [0 2 3])"},
		{mode: numa.WeightedInterleave, refuses: weighted, want: numa.Policy{Mode: numa.Interleave, Nodes: []numa.Node{0, 2, 3}},
			text: "bound (interleave [0 2 3], the kernel has no weighted interleave)"},
		{mode: numa.Preferred, nodes: []numa.Node{2, 3}, want: numa.Policy{Mode: numa.Preferred, Nodes: []numa.Node{2, 3}},
			text: "bound (preferred [2 3])"},
		{mode: numa.Preferred, nodes: []numa.Node{2, 3}, refuses: several, want: numa.Policy{Mode: numa.Preferred, Nodes: []numa.Node{2}},
			text: "bound (preferred [2])"},
	} {
		k := &policyKernel{refuses: c.refuses}
		a := open(t, Config{Topology: topo, Policy: c.mode, PolicyNodes: c.nodes, kernelView: k.view()})
		addr, _, err := a.Map(maxRun+1, 1)
		if err != nil {
			t.Fatal(err)
		}
		a.Unmap(addr)
		if len(k.got) != 5 || slices.ContainsFunc(k.got, func(p numa.Policy) bool {
			return p.Mode != c.want.Mode || !slices.Equal(p.Nodes, c.want.Nodes)
		}) {
			t.Errorf("%v %v: the kernel is asked for %v", c.mode, c.nodes, k.got)
		}
		for i, n := range a.Stats().Nodes {
			if n.Placement != c.text {
				t.Errorf("%v %v: placement is %q, want %q", c.mode, c.nodes, n.Placement, c.text)
			}
			e := a.PlacementError(i)
			if e == nil || e.Node != n.Node || e.FirstTouch || !strings.Contains(e.Error(), "policy is "+c.mode.String()) {
				t.Errorf("%v: node %d: %v", c.mode, n.Node, e)
			}
		}
		if c.refuses != nil {
			_, err := New(Config{Topology: topo, Policy: c.mode, PolicyNodes: c.nodes, kernelView: k.view(), Strictness: numa.Strict, Span: 8 * mib})
			if !errors.Is(err, numa.ErrRefused) {
				t.Errorf("%v under Strict, on an older kernel: %v", c.mode, err)
			}
		}
	}
	if a := open(t, Config{Policy: numa.Interleave}); a.PlacementError(0) != nil {
		t.Errorf("on one node: %v", a.PlacementError(0))
	}
}

// Under a policy the limits of the nodes count together.
func TestNodeLimitUnderPolicy(t *testing.T) {
	k := &policyKernel{}
	a := open(t, Config{Topology: nodes(t, 0, 1), Policy: numa.Interleave, NodeLimit: maxRun, kernelView: k.view()})
	runs := []Run{alloc(t, a, MaxOrder, 1), alloc(t, a, MaxOrder, 1)}
	var e *NodeLimitError
	if _, err := a.Alloc(0, 0); !errors.As(err, &e) || e.Node != numa.NoNode || e.Limit != 2*maxRun || !strings.Contains(err.Error(), "all nodes have") {
		t.Errorf("beyond the limits of both nodes: %v", err)
	}
	if s := a.Stats().Nodes; s[0].Charged != 2*maxRun || s[0].Limit != 2*maxRun || s[1].Charged != 0 || s[1].Limit != 0 {
		t.Errorf("stats are %+v", s)
	}
	if err := a.SetNodeLimit(0, 0); !errors.Is(err, ErrNode) {
		t.Errorf("a limit for one node: %v", err)
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
	unlimited := open(t, Config{Topology: nodes(t, 0, 1), Policy: numa.Interleave, NodeLimit: Unlimited, kernelView: k.view()})
	if limit, _ := unlimited.NodeLimit(1); limit != Unlimited {
		t.Errorf("the limit is %d", limit)
	}
}

func TestValidatePolicy(t *testing.T) {
	topo := load(t, testutil.SysFS(testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: 1 << 30}, testutil.SysNode{ID: 1, CPUs: []int{1}}))
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{PolicyNodes: []numa.Node{0}}, "PolicyNodes: [0], but policy local takes none"},
		{Config{Policy: numa.Preferred}, "PolicyNodes: none, but policy preferred needs some"},
		{Config{Policy: numa.Bind, PolicyNodes: []numa.Node{0}}, "Policy: bind is none of"},
		{Config{Policy: 99}, "Policy: Mode(99) is none of"},
		{Config{Policy: numa.Interleave, Strictness: numa.Off}, "Policy: interleave, but with numa.Off"},
		{Config{Policy: numa.Interleave, PolicyNodes: []numa.Node{0, 1, 7}}, "PolicyNodes: node 7 has no memory"},
	} {
		c.cfg.Topology = topo
		if err := c.cfg.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	good := Config{Topology: topo, Policy: numa.WeightedInterleave, PolicyNodes: []numa.Node{0}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
