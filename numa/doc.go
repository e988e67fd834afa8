// Package numa knows the machine's NUMA nodes and puts memory and threads on
// them.
//
// It stands between the arenas, which ask where a range should live, and the
// kernel, which decides. Three parts, each usable alone:
//
//	Topology  what there is: nodes, CPUs, distances, who has memory  (sysfs, read once)
//	Policy    what we want: Bind, Preferred, ... applied to a range  (mbind)
//	Where     what we got: the node of each touched page             (move_pages)
//
// # Odd machines
//
// Node ids may have gaps, a node may have no memory or no CPU, a CPU may be
// offline or, with numa=fake, on several nodes. A [Node] is the kernel's id;
// [Topology.Index] makes it dense. A CPU on a memoryless node allocates from
// [Topology.LocalNode], the nearest node with memory, which exists for every
// CPU id, known or not.
//
// Where sysfs is missing (containers, gVisor, other systems) or the kernel
// was built without NUMA, Load describes one node with all CPUs and
// [Topology.Source] says why. Where the kernel refuses mbind (Docker's seccomp
// profile does), [Strictness] chooses between going on, with a [Placement]
// that says so, and an error.
//
// # Rules
//
// A Topology never changes after Load: CPUs and nodes that come later are
// unknown to it. All functions may be called from any goroutine and take no
// lock; only the affinity functions want the goroutine locked to its thread.
// The slices that a Topology returns are shared and must not be written to.
// Affinity buys locality, never safety: cpusets and other processes move
// pinned threads too.
package numa

import "errors"

// Node is the kernel's id of a NUMA node, at least 0.
type Node int

// NoNode means any node, or that the node is not known.
const NoNode Node = -1

var (
	// ErrMalformed says that a sysfs file has text that Linux doesn't write.
	// The error around it names the file.
	ErrMalformed = errors.New("malformed")
	// ErrInvalid says that the caller's policy, range or CPU list makes no
	// sense on any machine.
	ErrInvalid = errors.New("invalid argument")
	// ErrRefused says that the kernel would not do it, be it for lack of the
	// system call, of permission or of such a node. It comes with the errno.
	ErrRefused = errors.New("refused by the kernel")
)
