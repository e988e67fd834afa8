package percpu

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A Filter finds the owner word of an address in a few instructions, and tells the
// stacks that objects with the right one go to. It is constant once it is used, and
// part of a Free, whose sequence does the same.
type Filter struct {
	slots  uintptr // address of CPU 0's stack
	base   uintptr // of the arena's range
	pages  uintptr // of the range
	mask   uintptr // bytes of a slab - 1
	magic  uint64  // see starts
	limit  uint64
	owners unsafe.Pointer // the owner word of every page
}

const pageShift = mem.PageShift // the assembly has it by this name

// NewFilter returns a Filter for objects that start every slot bytes, perSlab times
// in each 1<<order pages of a range that starts at base.
func NewFilter(base, pages uintptr, owners unsafe.Pointer, slot uintptr, perSlab, order int) Filter {
	f := Filter{base: base, pages: pages, owners: owners, mask: mem.PageSize<<order - 1}
	f.magic, f.limit = divider(slot, perSlab)
	return f
}

// Serve returns the Filter for the given stacks.
func (f Filter) Serve(s Slots, k Kind) Filter {
	f.slots = s.base + uintptr(k)
	return f
}

// Nothing returns the Filter that lets nothing through: every object takes the slow
// path, for a closer look.
func (f Filter) Nothing() Filter {
	f.pages = 0
	return f
}

// Owner returns the owner word of p's page if p is where an object could start, else
// 0, which no stack accepts. A stack compares the word with its own, and so checks
// cache and node in one.
func (f *Filter) Owner(p unsafe.Pointer) uint32 {
	off := uintptr(p) - f.base
	if page := off >> pageShift; page < f.pages && f.starts(off&f.mask) {
		return *(*uint32)(unsafe.Add(f.owners, page*4))
	}
	return 0
}

// Prefix returns how many objects at the front of ps have the owner word own. It is
// Owner with the Filter's words in registers.
func (f *Filter) Prefix(ps []unsafe.Pointer, own uint32) int {
	base, pages, mask, magic, limit, owners := f.base, f.pages, f.mask, f.magic, f.limit, f.owners
	for i, p := range ps {
		off := uintptr(p) - base
		page := off >> pageShift
		if page >= pages || uint64(off&mask)*magic >= limit || *(*uint32)(unsafe.Add(owners, page*4)) != own {
			return i
		}
	}
	return len(ps)
}

// starts reports whether an object starts off bytes into a slab, in one
// multiplication (after Lemire, Kaser and Kurz, "Faster remainder by direct
// computation", 2019). With magic = ceil(2^64/slot) the product wraps to k*r for
// off = k*slot, where r = magic*slot - 2^64 < slot, and to at least magic for all
// others. limit is perSlab*r, so that the unused bytes at the slab's end fail too; for
// powers of two r is 0 and there are none.
func (f *Filter) starts(off uintptr) bool { return uint64(off)*f.magic < f.limit }

// divider computes magic and limit.
func divider(slot uintptr, perSlab int) (magic, limit uint64) {
	magic = math.MaxUint64/uint64(slot) + 1
	return magic, max(1, uint64(perSlab)*(magic*uint64(slot)))
}
