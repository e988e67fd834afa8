package numa

import (
	"errors"
	"strings"
	"syscall"
	"testing"

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
		{Policy{Mode: Bind}, []string{"needs nodes"}},
		{Policy{Nodes: []Node{0}}, []string{"takes no nodes"}},
		{Policy{Mode: Interleave, Nodes: []Node{NoNode, maxNode + 1}}, []string{"no node -1", "no node 1024"}},
		{Policy{Mode: numModes, Strictness: numStrictness}, []string{"unknown mode 4", "unknown strictness 3", "Mode(4) needs nodes"}},
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

// A kernel that refuses is made with sys.FailNth; no memory is needed.
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

func TestApplyRefusesCrookedAddresses(t *testing.T) {
	if _, err := (Policy{}).Apply(1, mem.PageSize); !errors.Is(err, ErrInvalid) {
		t.Errorf("address 1: %v", err)
	}
}

func TestPolicyInTheKernelsTerms(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		mode   int
		flags  uint
	}{
		{Policy{}, 4, 0},
		{Policy{Mode: Bind, Nodes: []Node{1, 65}}, 2 | 1<<15, 0},
		{Policy{Mode: Bind, Nodes: []Node{1, 65}, Strictness: Strict}, 2 | 1<<15, 1},
		{Policy{Mode: Preferred, Nodes: []Node{1}}, 1 | 1<<15, 0},
		{Policy{Mode: Preferred, Nodes: []Node{1, 65}, Strictness: Strict}, 5 | 1<<15, 0},
		{Policy{Mode: Interleave, Nodes: []Node{1, 65}}, 3 | 1<<15, 0},
	} {
		mode, nodes, flags := c.policy.kernel()
		if mode != c.mode || flags != c.flags || len(nodes.ids()) != len(c.policy.Nodes) {
			t.Errorf("%+v becomes mode %#x, nodes %v, flags %d", c.policy, mode, nodes.ids(), flags)
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

func TestSetAffinityRefusesNonsense(t *testing.T) {
	for _, cpus := range [][]int{nil, {-1}, {0, maxID + 1}} {
		if _, err := SetAffinity(cpus...); !errors.Is(err, ErrInvalid) {
			t.Errorf("CPUs %v: %v", cpus, err)
		}
	}
}
