// Package numa describes the machine's NUMA nodes and places memory and threads on them. It has
// these parts, each usable alone:
//
//	Topology  what there is: nodes, CPUs, distances, which nodes have memory  (sysfs, read once)
//	Policy    what is wanted: Bind, Preferred, ... for a range of addresses   (mbind)
//	Where     what was done: the node of each touched page                    (move_pages)
//	Observe   the same of samples, where move_pages is refused as well        (numa_maps)
//	Move      pages to the node that they should be on                        (move_pages)
//
// # For users
//
// [System] is the topology of the machine; slub's AllocNode and arena.Config take its nodes.
// [SetAffinity] keeps a thread near its memory, [Where] shows where pages are, and
// [Topology.CrossCheck] compares sysfs with what the processor says about itself.
//
// # For allocators
//
// Arenas apply a [Policy] to their ranges, and report the [Placement] that the kernel granted.
// Allocators use the topology's arithmetic: [Topology.Index] makes a node's id an array index,
// [Topology.NumCPU] is the length of an array by CPU id, [Topology.LocalNode] is the node that a
// CPU allocates from, and [Topology.Fallback] the order in which to try the others.
//
// # Odd machines
//
// Node ids may have gaps, a node may have no memory or no CPU, a CPU may be offline or, with
// numa=fake, on several nodes. A [Node] is the kernel's id; [Topology.Index] makes it dense. A CPU
// on a memoryless node allocates from [Topology.LocalNode], the nearest node with memory, which
// exists for every CPU id, known or not.
//
// Where sysfs is missing (containers, gVisor, other systems) or the kernel was built without NUMA,
// LoadFS describes one node with all CPUs, and [Topology.Source] says why. That node is only
// [Topology.Assumed]: arenas bind no memory to it, since the machine may have several. Where the
// kernel refuses mbind (Docker's seccomp profile does), [Strictness] chooses between going on, with
// a [Placement] that says so, and an error.
//
// # Rules
//
// A Topology never changes after it was loaded: CPUs and nodes that are added later are unknown to
// it. All functions may be called from any goroutine and take no lock; only the affinity functions
// need the goroutine locked to its thread. The slices that a Topology returns are shared and must
// not be written to. Affinity is for locality, never for safety: cpusets and other processes move
// pinned threads too.
package numa

import "errors"

// Node is the kernel's id of a NUMA node, at least 0.
type Node int

// NoNode means any node, or that the node is not known.
const NoNode Node = -1

var (
	// ErrMalformed says that a sysfs file has text that Linux doesn't write. The error around it
	// names the file.
	ErrMalformed = errors.New("malformed")
	// ErrInvalid says that a policy, range or CPU list of the caller's makes no sense on any
	// machine.
	ErrInvalid = errors.New("invalid argument")
	// ErrRefused says that the kernel would not do it: it lacks the system call or the node, or the
	// process lacks the permission. It comes with the errno.
	ErrRefused = errors.New("refused by the kernel")
	// ErrAssumed says that memory can't be bound, since the topology is an assumed one.
	ErrAssumed = errors.New("the topology is assumed")
)
