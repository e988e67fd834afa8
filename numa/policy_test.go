package numa

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestPolicyValidate(t *testing.T) {
	for _, p := range []Policy{
		{},
		{Mode: Bind, Nodes: []Node{0}, Strictness: Strict},
		{Mode: Preferred, Nodes: []Node{0, maxNode}, Strictness: Off},
		{Mode: Interleave, Nodes: []Node{3}},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, c := range []struct {
		policy   Policy
		problems []string
	}{
		{
			policy:   Policy{Mode: Bind},
			problems: []string{"Policy.Nodes: none, but mode bind needs some"},
		},
		{
			policy:   Policy{Nodes: []Node{0}},
			problems: []string{"Policy.Nodes: [0], but mode local takes none"},
		},
		{
			policy:   Policy{Mode: Interleave, Nodes: []Node{NoNode, maxNode + 1}},
			problems: []string{"Policy.Nodes: -1 is not within 0..1023", "Policy.Nodes: 1024 is not within 0..1023"},
		},
		{
			policy: Policy{Mode: numModes, Strictness: numStrictness},
			problems: []string{
				"Policy.Mode: 5 is not within 0..4", "Policy.Strictness: 3 is not within 0..2",
				"Policy.Nodes: none, but mode Mode(5) needs some",
			},
		},
	} {
		err := c.policy.Validate()
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c.policy, err)
			continue
		}
		for _, text := range c.problems {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%+v: %q lacks %q", c.policy, err, text)
			}
		}
		if _, err := c.policy.Apply(0, 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v is applied: %v", c.policy, err)
		}
	}
}

// sys.FailNth stands for a kernel that refuses, so the test needs no memory.
func TestApplyWhenTheKernelRefuses(t *testing.T) {
	bind := func(s Strictness) Policy { return Policy{Mode: Bind, Nodes: []Node{0}, Strictness: s} }
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EFAULT} {
		restore := sys.FailNth(sys.CallMbind, 0, errno)
		mistake := errno == syscall.EFAULT

		place, err := bind(Advisory).Apply(mem.PageSize, mem.PageSize)
		if mistake && !errors.Is(err, errno) || !mistake && err != nil {
			t.Errorf("advisory, %v: %v", errno, err)
		}
		if place.Outcome != FirstTouch || !mistake && !strings.Contains(place.String(), "first-touch: mbind: "+errno.Error()) {
			t.Errorf("advisory, %v: %v", errno, place)
		}
		_, err = bind(Strict).Apply(mem.PageSize, mem.PageSize)
		if !errors.Is(err, errno) || errors.Is(err, ErrRefused) == mistake {
			t.Errorf("strict, %v: %v", errno, err)
		}
		place, err = bind(Off).Apply(mem.PageSize, mem.PageSize)
		if err != nil || place != (Placement{Reason: "switched off"}) {
			t.Errorf("off, %v: %v, %v", errno, place, err)
		}
		restore()
	}
}

func TestApplyRefusesUnalignedAddresses(t *testing.T) {
	if _, err := (Policy{}).Apply(1, mem.PageSize); !errors.Is(err, ErrInvalid) {
		t.Errorf("address 1: %v", err)
	}
}

func TestPolicyAsArgumentsOfMbind(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		mode   int
		flags  uint
	}{
		{policy: Policy{}, mode: 4},
		{policy: Policy{Mode: Bind, Nodes: []Node{1, 65}}, mode: 2 | 1<<15},
		{policy: Policy{Mode: Bind, Nodes: []Node{1, 65}, Strictness: Strict}, mode: 2 | 1<<15, flags: 1},
		{policy: Policy{Mode: Preferred, Nodes: []Node{1}}, mode: 1 | 1<<15},
		{policy: Policy{Mode: Preferred, Nodes: []Node{1, 65}, Strictness: Strict}, mode: 5 | 1<<15},
		{policy: Policy{Mode: Interleave, Nodes: []Node{1, 65}}, mode: 3 | 1<<15},
		{policy: Policy{Mode: WeightedInterleave, Nodes: []Node{1, 65}}, mode: 6 | 1<<15},
	} {
		mode, nodes, flags := c.policy.kernel()
		if mode != c.mode || flags != c.flags || len(nodes.IDs()) != len(c.policy.Nodes) {
			t.Errorf("%+v becomes mode %#x, nodes %v, flags %d", c.policy, mode, nodes.IDs(), flags)
		}
	}
}

func TestWhereAndAffinityWhenTheKernelRefuses(t *testing.T) {
	for _, c := range []sys.Call{sys.CallNodesOf, sys.CallAffinity, sys.CallSetAffinity, sys.CallCPU} {
		defer sys.FailNth(c, 0, syscall.EPERM)()
	}
	_, where := Where([]uintptr{0})
	_, get := Affinity()
	_, set := SetAffinity(0)
	_, cpu := CurrentCPU()
	for name, err := range map[string]error{"Where": where, "Affinity": get, "SetAffinity": set, "CurrentCPU": cpu} {
		if !errors.Is(err, ErrRefused) || !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetAffinityRefusesImpossibleCPUs(t *testing.T) {
	for _, cpus := range [][]int{nil, {-1}, {0, cpulist.MaxID + 1}} {
		if _, err := SetAffinity(cpus...); !errors.Is(err, ErrInvalid) {
			t.Errorf("CPUs %v: %v", cpus, err)
		}
	}
}
