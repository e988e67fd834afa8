package slub

import (
	"math/bits"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// maxSlabOrder is the largest order that a slab gets for the sake of packing:
// 32 KiB, as the kernel's slub_max_order. Larger objects take what they need.
const maxSlabOrder = 3

// slabOrder chooses the order of a cache's slabs: enough objects that the partial
// list's lock is rare, and little waste at the end, in that order of fractions:
// 1/16, 1/8, 1/4, 1/2 of the slab (kernel: calculate_order). It returns -1 when one
// object is larger than the largest run.
func slabOrder(size uintptr, cpus int) int {
	// The more CPUs, the more often somebody refills (kernel's default for
	// slub_min_objects).
	objects := uintptr(4 * (bits.Len(uint(cpus)) + 1))
	objects = min(objects, max(1, mem.PageSize<<maxSlabOrder/size))
	least := mem.Order(objects * size)
	for fraction := uintptr(16); fraction > 1; fraction /= 2 {
		for order := least; order <= maxSlabOrder; order++ {
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
