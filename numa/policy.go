package numa

import (
	"errors"
	"fmt"
)

// Mode is a kernel memory policy.
type Mode uint8

const (
	// Local takes pages from the node whose CPU touches them first, and from
	// the next nearest when that is full. It names no nodes.
	Local Mode = iota
	// Bind takes pages from the policy's nodes only. When they are full, the
	// kernel kills a process rather than look elsewhere: leave room, or use
	// Preferred.
	Bind
	// Preferred takes pages from the policy's nodes while they have some, then
	// from others. More than one node needs Linux 5.15.
	Preferred
	// Interleave deals pages out over the policy's nodes in turn.
	Interleave
	numModes
)

var modeNames = [numModes]string{"local", "bind", "preferred", "interleave"}

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
	// Strict makes refusal an error, as well as pages of a Bind range that are
	// on another node already.
	Strict
	// Off does not ask the kernel.
	Off
	numStrictness
)

// Policy says where the pages of a range should come from. The zero value is
// the kernel's default, Local.
type Policy struct {
	Mode       Mode
	Nodes      []Node // none for Local, at least one otherwise; with memory, online
	Strictness Strictness
}

// maxNode is the highest node id that any kernel is built for (NODES_SHIFT 10).
const maxNode = 1023

// Validate reports everything that is wrong with the policy, as ErrInvalid.
func (p Policy) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("numa: %w: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if p.Mode >= numModes {
		bad("unknown mode %d", p.Mode)
	}
	if p.Strictness >= numStrictness {
		bad("unknown strictness %d", p.Strictness)
	}
	if p.Mode == Local && len(p.Nodes) > 0 {
		bad("mode local takes no nodes, got %v", p.Nodes)
	}
	if p.Mode != Local && len(p.Nodes) == 0 {
		bad("mode %v needs nodes", p.Mode)
	}
	for _, n := range p.Nodes {
		if n < 0 || n > maxNode {
			bad("there is no node %d", n)
		}
	}
	return errors.Join(errs...)
}
