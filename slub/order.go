package slub

import (
	"math/bits"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// Slabs are the limits within which the order of a cache's slabs is chosen. The zero
// value is the kernel's default for each.
type Slabs struct {
	// MinOrder is the least order, log2 of pages (slab_min_order).
	MinOrder int
	// MaxOrder is the largest that a slab gets for the sake of packing; objects that
	// need more get more. 0 means 3, slabs of 32 KiB (slab_max_order).
	MaxOrder int
	// MinObjects is how many objects a slab should hold at least, if MaxOrder allows
	// that; 0 means more the more CPUs there are, 12 on two (slab_min_objects).
	MinObjects int
}

const maxSlabOrder = 3

// validate appends every problem.
func (s Slabs) validate(bad badField) {
	outside := func(order int) bool { return order < 0 || order > arena.MaxOrder }
	if outside(s.MinOrder) {
		bad("Slabs.MinOrder", "%d is not within 0..%d", s.MinOrder, arena.MaxOrder)
	}
	if outside(s.MaxOrder) {
		bad("Slabs.MaxOrder", "%d is not within 0..%d", s.MaxOrder, arena.MaxOrder)
	}
	if !outside(s.MinOrder) && !outside(s.MaxOrder) && s.MinOrder > s.maxOrder() {
		bad("Slabs.MinOrder", "%d is above MaxOrder, which is %d", s.MinOrder, s.maxOrder())
	}
	if s.MinObjects < 0 {
		bad("Slabs.MinObjects", "%d is negative", s.MinObjects)
	}
}

func (s Slabs) maxOrder() int {
	if s.MaxOrder == 0 {
		return maxSlabOrder
	}
	return s.MaxOrder
}

// order chooses the order of slabs for objects of size bytes: enough objects that the
// partial list's lock is rare, and little waste at the end, in that order of fractions:
// 1/16, 1/8, 1/4, 1/2 of the slab (kernel: calculate_order). It returns -1 when one
// object is larger than the largest run.
func (s Slabs) order(size uintptr, cpus int) int {
	objects := uintptr(s.MinObjects)
	if objects == 0 {
		// The more CPUs, the more often somebody refills.
		objects = uintptr(4 * (bits.Len(uint(cpus)) + 1))
	}
	objects = min(objects, max(1, mem.PageSize<<s.maxOrder()/size))
	least := max(s.MinOrder, mem.Order(objects*size))
	for fraction := uintptr(16); fraction > 1; fraction /= 2 {
		for order := least; order <= s.maxOrder(); order++ {
			if bytes := uintptr(mem.PageSize) << order; bytes >= size && bytes%size <= bytes/fraction {
				return order
			}
		}
	}
	if order := mem.Order(size); order <= arena.MaxOrder {
		return order
	}
	return -1
}
