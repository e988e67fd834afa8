package numa

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Outcome is what became of a policy.
type Outcome uint8

const (
	// FirstTouch says that the range has no policy of ours. The kernel places each page by the
	// thread that touches it first.
	FirstTouch Outcome = iota
	// Bound says that the kernel accepted the policy. gVisor accepts and ignores it, which only
	// Where can show.
	Bound
)

// Placement is an Outcome and, for FirstTouch, its reason.
type Placement struct {
	Outcome Outcome
	Reason  string
}

// String returns "bound" or "first-touch: " and the reason.
func (p Placement) String() string {
	if p.Outcome == Bound {
		return "bound"
	}
	return "first-touch: " + p.Reason
}

// Apply asks the kernel to place the pages of a range by the policy when they are touched. It moves
// no page. addr is page-aligned, length in bytes. For allocators.
//
// Errors: ErrInvalid; EFAULT when a part of the range is not mapped; under Strict also ErrRefused
// with the errno.
func (p Policy) Apply(addr, length uintptr) (Placement, error) {
	if err := p.Validate(); err != nil {
		return Placement{}, err
	}
	// Checked here, since the kernel's EINVAL could also mean the nodes, and then is no error under
	// Advisory.
	if addr%mem.PageSize != 0 {
		return Placement{}, fmt.Errorf("numa: %w: address %#x is not page-aligned", ErrInvalid, addr)
	}
	if p.Strictness == Off {
		return Placement{Reason: "switched off"}, nil
	}
	mode, nodes, flags := p.kernel()
	err := sys.Mbind(addr, length, mode, nodes, flags)
	switch {
	case err == nil:
		return Placement{Outcome: Bound}, nil
	case errors.Is(err, syscall.EFAULT):
		return Placement{}, fmt.Errorf("numa: range %#x+%#x: %w", addr, length, err)
	case p.Strictness == Strict:
		return Placement{}, refused(fmt.Sprintf("policy %v%v", p.Mode, p.Nodes), err)
	}
	return Placement{Reason: err.Error()}, nil
}

// Constants of <linux/mempolicy.h>. A static node mask means the same nodes when the process'
// cpuset changes. Without the flag the kernel would map them to others, and the node that an arena
// computes from an address would be wrong.
const (
	mpolPreferred     = 1
	mpolBind          = 2
	mpolInterleave    = 3
	mpolLocal         = 4
	mpolPreferredMany = 5
	mpolWeighted      = 6
	mpolStaticNodes   = 1 << 15
	mpolMFStrict      = 1 << 0
)

// kernel returns the policy as arguments of mbind.
func (p Policy) kernel() (mode int, nodes cpulist.Mask, flags uint) {
	for _, n := range p.Nodes {
		nodes.Add(int(n))
	}
	switch p.Mode {
	case Bind:
		mode = mpolBind | mpolStaticNodes
		if p.Strictness == Strict {
			flags = mpolMFStrict
		}
	case Preferred:
		mode = mpolPreferred | mpolStaticNodes
		if len(p.Nodes) > 1 {
			mode = mpolPreferredMany | mpolStaticNodes
		}
	case Interleave:
		mode = mpolInterleave | mpolStaticNodes
	case WeightedInterleave:
		mode = mpolWeighted | mpolStaticNodes
	case Local:
		mode = mpolLocal
	}
	return mode, nodes, flags
}

// Where returns the node of the page at each address. It is NoNode for a page that was never
// touched or is not mapped, or that the kernel is moving at that moment.
//
// Errors: ErrRefused with the errno.
func Where(addrs []uintptr) ([]Node, error) {
	status := make([]int32, len(addrs))
	if err := sys.NodesOf(addrs, status); err != nil {
		return nil, refused("page query", err)
	}
	nodes := make([]Node, len(addrs))
	for i, s := range status {
		nodes[i] = max(Node(s), NoNode)
	}
	return nodes, nil
}

// refused makes an ErrRefused of a non-nil error of the kernel. what is what was asked for.
func refused(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("numa: %s %w: %w", what, ErrRefused, err)
}
