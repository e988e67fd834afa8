package slub

import (
	"math/bits"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
)

// SlabLimits are the limits within which New chooses the order of a cache's slabs: the logarithm
// to base 2 of their size in pages of 4 KiB. In every field 0 is automatic.
type SlabLimits struct {
	// MinOrder is the least order, up to 10. 0 is no bound (kernel: slab_min_order).
	MinOrder int
	// MaxOrder is the largest order that slabs get to waste less; objects that don't fit get a
	// larger one. 0 is automatic: 3, slabs of 32 KiB (kernel: slab_max_order).
	MaxOrder int
	// MinObjects is the least number of objects in a slab, as far as MaxOrder allows. 0 is
	// automatic: it grows with the number of CPUs and is 12 on two (kernel: slab_min_objects).
	MinObjects int
}

const maxSlabOrder = 3

// validate adds every problem to p.
func (s SlabLimits) validate(p *configerr.Problems) {
	outside := func(order int) bool { return order < 0 || order > arena.MaxOrder }
	if outside(s.MinOrder) {
		p.Add("Slabs.MinOrder", "%d is not within 0..%d", s.MinOrder, arena.MaxOrder)
	}
	if outside(s.MaxOrder) {
		p.Add("Slabs.MaxOrder", "%d is not within 0..%d", s.MaxOrder, arena.MaxOrder)
	}
	if !outside(s.MinOrder) && !outside(s.MaxOrder) && s.MinOrder > s.maxOrder() {
		p.Add("Slabs.MinOrder", "%d is above MaxOrder, which is %d", s.MinOrder, s.maxOrder())
	}
	if s.MinObjects < 0 {
		p.Add("Slabs.MinObjects", "%d is negative", s.MinObjects)
	}
}

func (s SlabLimits) maxOrder() int {
	if s.MaxOrder == 0 {
		return maxSlabOrder
	}
	return s.MaxOrder
}

// order returns the order of slabs for objects of size bytes. A slab should have enough objects
// that the partial list's lock is rarely taken, and waste little at its end: the least order is
// chosen that wastes at most 1/16 of the slab, or else 1/8, 1/4, 1/2 (kernel: calculate_order).
// It returns -1 if an object is larger than the largest run.
func (s SlabLimits) order(size uintptr, cpus int) int {
	objects := uintptr(s.MinObjects)
	if objects == 0 {
		// With more CPUs there are more refills.
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
