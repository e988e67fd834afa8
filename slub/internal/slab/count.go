package slab

import "github.com/slubd/slubd/internal/percpu"

// freeCounts has the number of free objects in each node's slabs, in counters of per-CPU memory.
// So Stats walks no list, and operations on different CPUs share no cache line. For each node
//
//	sum over CPUs = sum over its slabs of objects - inuse
//
// whenever no operation is under way. Every step that changes slab.state's inuse, or removes a slab
// with free objects, adds the difference to the node's counter before the operation returns:
//
//	carve         + what a new slab keeps; in grow all of its objects are out
//	addFree       + the objects freed; a double free counts for none
//	returnRest    + the rest of the chain, and the untouched objects
//	takeFree      - all that were free, a damaged chain's lost objects included
//	pop           - 1
//	discard       - all objects of the slab
//
// Of these, addFree and returnRest know the difference from the exchange of slab.state that
// succeeded, so two operations on one slab never count the same change. Additions are atomic: it
// does not matter which CPU makes them. A reading that overlaps operations is off by their
// objects at most.
//
// Objects in sheaves are out of their slabs. So the paths of sheaves don't come here.
type freeCounts []percpu.Counters

// newFreeCounts makes the counters of that many nodes. The error is sys.Reserve's.
func newFreeCounts(nodes int) (freeCounts, error) {
	var f freeCounts
	for left := nodes; left > 0; left -= percpu.MaxCounters {
		c, err := percpu.NewCounters(min(left, percpu.MaxCounters))
		if err != nil {
			f.release()
			return nil, err
		}
		f = append(f, c)
	}
	return f, nil
}

// release frees the counters. If the kernel keeps their pages, a few KiB stay resident.
func (f freeCounts) release() {
	for _, c := range f {
		_ = c.Free()
	}
}

// recycle lets the counters' cells be used again: nothing refers to the Slabs any more.
func (f freeCounts) recycle() {
	for _, c := range f {
		c.Recycle()
	}
}

// add notes that a node has n more free objects, or fewer.
func (f freeCounts) add(node uint8, n int) {
	f[node/percpu.MaxCounters].Add(int(node%percpu.MaxCounters), uint64(n))
}

// sum returns the free objects of a node. A reading that overlaps operations may see an object
// taken before it sees it freed.
func (f freeCounts) sum(node int) int64 {
	return max(0, int64(f[node/percpu.MaxCounters].Sum(node%percpu.MaxCounters)))
}
