package numa

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Outcome is what became of a policy.
type Outcome uint8

const (
	// FirstTouch: the kernel has no policy of ours; it places each page by the
	// thread that touches it first.
	FirstTouch Outcome = iota
	// Bound: the kernel accepted the policy. gVisor accepts and ignores it,
	// which only Where can show.
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

// Apply asks the kernel to place pages of the range by the policy, as they are
// touched; it moves none. addr is page-aligned, length in bytes.
//
// Errors: ErrInvalid; EFAULT when the range is not all mapped; under Strict
// also ErrRefused with the errno.
func (p Policy) Apply(addr, length uintptr) (Placement, error) {
	if err := p.Validate(); err != nil {
		return Placement{}, err
	}
	// The kernel's EINVAL could also mean the nodes, which Advisory forgives.
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

// Constants of <linux/mempolicy.h>. A static node mask keeps meaning the same
// nodes when the process' cpuset changes; without it the kernel would map them
// to others, and an arena's address arithmetic would lie.
const (
	mpolPreferred     = 1
	mpolBind          = 2
	mpolInterleave    = 3
	mpolLocal         = 4
	mpolPreferredMany = 5
	mpolStaticNodes   = 1 << 15
	mpolMFStrict      = 1 << 0
)

// kernel puts the policy in mbind's terms.
func (p Policy) kernel() (mode int, nodes mask, flags uint) {
	for _, n := range p.Nodes {
		nodes.add(int(n))
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
	case Local:
		mode = mpolLocal
	}
	return mode, nodes, flags
}

// Where returns the node of the page at each address, NoNode for pages that
// were never touched or are not mapped.
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

// refused names what was asked for in a non-nil error of the kernel.
func refused(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("numa: %s %w: %w", what, ErrRefused, err)
}
