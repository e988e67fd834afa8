package numa

import (
	"fmt"

	"github.com/slubd/slubd/internal/configerr"
)

// Mode is a kernel memory policy.
type Mode uint8

const (
	// Local takes pages from the node whose CPU touches them first, and from the next nearest when
	// that is full. It names no nodes.
	Local Mode = iota
	// Bind takes pages from the policy's nodes only. When they are full, the kernel kills a process
	// rather than use another node: leave memory free, or use Preferred.
	Bind
	// Preferred takes pages from the policy's nodes while they have some, then from others. More
	// than one node needs Linux 5.15.
	Preferred
	// Interleave takes pages from the policy's nodes in turn.
	Interleave
	// WeightedInterleave takes pages from the policy's nodes in proportion to the weights in
	// /sys/kernel/mm/mempolicy/weighted_interleave. It needs Linux 6.9.
	WeightedInterleave
	numModes
)

var modeNames = [numModes]string{"local", "bind", "preferred", "interleave", "weighted interleave"}

// String returns the mode's name in lower case.
func (m Mode) String() string {
	if m < numModes {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Strictness says what a kernel's refusal means.
type Strictness uint8

const (
	// Advisory goes on without the policy when the kernel refuses it.
	Advisory Strictness = iota
	// Strict makes a refusal an error, and also pages of a Bind range that are on another node
	// already.
	Strict
	// Off asks nothing of the kernel.
	Off
	numStrictness
)

// Policy says where the pages of a range should come from. The zero value is the kernel's default,
// Local.
type Policy struct {
	Mode       Mode
	Nodes      []Node // online and with memory; none for Local, at least one otherwise
	Strictness Strictness
}

// maxNode is the highest node id that kernels are built for (NODES_SHIFT 10).
const maxNode = 1023

// Validate reports all problems of the policy at once, each wrapping ErrInvalid.
func (p Policy) Validate() error {
	problems := configerr.Problems{Prefix: "numa: Policy.", Kind: ErrInvalid}
	problems.Within("Mode", int64(p.Mode), 0, int64(numModes)-1)
	problems.Within("Strictness", int64(p.Strictness), 0, int64(numStrictness)-1)
	switch {
	case p.Mode == Local && len(p.Nodes) > 0:
		problems.Add("Nodes", "%v, but mode local takes none", p.Nodes)
	case p.Mode != Local && len(p.Nodes) == 0:
		problems.Add("Nodes", "none, but mode %v needs some", p.Mode)
	}
	for _, n := range p.Nodes {
		problems.Within("Nodes", int64(n), 0, maxNode)
	}
	return problems.Err()
}
