package arena

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/numa"
)

// binds reports whether the arena asks the kernel to place memory: unless the config forbids it, or
// the topology's one node stands for nodes that it doesn't know. That node's memory would all come
// from node 0 of the machine, wherever the CPUs are that use it.
func (a *Arena) binds() bool { return a.cfg.Strictness != numa.Off && !a.topo.Assumed() }

// place asks the kernel to place a part of b by the policy. Under an assumed topology it asks for
// nothing, and says why. Errors: as numa.Policy.Apply; under Strict numa.ErrAssumed.
func (a *Arena) place(b *backing, p numa.Policy, addr, n uintptr) (numa.Placement, error) {
	switch {
	case !a.topo.Assumed():
		return a.cfg.kernelView.bind(b, p, addr, n)
	case p.Strictness == numa.Strict:
		return numa.Placement{}, fmt.Errorf("%w: %s", numa.ErrAssumed, a.topo.Source())
	}
	return numa.Placement{Reason: a.topo.Source()}, nil
}

// ErrPlacement says that memory of a node can't be had, or not with any certainty that it lies
// there. It comes with a *PlacementError, and matches ErrNoMemory.
var ErrPlacement = fmt.Errorf("%w: it would not lie on the node", ErrNoMemory)

// PlacementError says why memory of a node may lie elsewhere. It matches ErrPlacement.
type PlacementError struct {
	Node   numa.Node
	Reason string
	// FirstTouch says that the kernel takes each page from the node whose CPU touches it first. So
	// memory that only CPUs of the node use lies there.
	FirstTouch bool
}

// Error names the node and the reason.
func (e *PlacementError) Error() string {
	return fmt.Sprintf("%v: node %d: %s", ErrPlacement, e.Node, e.Reason)
}

// Unwrap returns ErrPlacement.
func (e *PlacementError) Unwrap() error { return ErrPlacement }

// PlacementError returns why memory of the node with that index in the topology may lie elsewhere,
// nil if it lies there as far as is known. That is:
//
//   - The kernel has accepted the node's policy, and at least seven eighths of a sample of pages,
//     if there is one, lie on the node. Pages that were taken from other nodes since, as the node
//     was full, show in the next sample, at most some seconds later.
//   - There is something to ask: where the kernel refuses both move_pages and numa_maps, a policy
//     that it has accepted says too little, as gVisor accepts all.
//   - The node has memory, and the cpuset allows it.
//
// It is nil also where there is one node only, with numa.Off, which asks for no placement, with a
// topology that has nodes which this machine doesn't have, and with -race. It costs a load. For
// allocators.
func (a *Arena) PlacementError(node int) *PlacementError {
	if !a.observer.judges {
		return nil
	}
	return a.observer.errs[node].Load()
}

// PlacementWord returns the address of a word that is not 0 as long as PlacementError is not nil,
// for sequences in assembly. The word lies in the arena.
func (a *Arena) PlacementWord(node int) unsafe.Pointer {
	if !a.observer.judges {
		return unsafe.Pointer(&a.observer.noError)
	}
	return unsafe.Pointer(&a.observer.errs[node])
}
