package percpu

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A Filter finds the owner word of an address in a few instructions, and names the stacks that
// objects with the right owner word go to. It is constant once it is in use. It is part of a Free,
// whose code does the same.
type Filter struct {
	slots  uintptr // address of CPU 0's stack
	base   uintptr // address of the arena's range
	pages  uintptr // pages of the range
	mask   uintptr // bytes of a slab - 1
	magic  uint64  // see starts
	limit  uint64
	owners unsafe.Pointer // owner word of every page
}

const pageShift = mem.PageShift // the assembly uses this name

// NewFilter returns a Filter for objects that start every slot bytes, perSlab times in each
// 1<<order pages of a range that starts at base.
func NewFilter(base, pages uintptr, owners unsafe.Pointer, slot uintptr, perSlab, order int) Filter {
	f := Filter{base: base, pages: pages, owners: owners, mask: mem.PageSize<<order - 1}
	f.magic, f.limit = divider(slot, perSlab)
	return f
}

// ForStacks returns the Filter for the given stacks.
func (f Filter) ForStacks(s Slots, k Kind) Filter {
	f.slots = s.base + uintptr(k)
	return f
}

// RejectAll returns a Filter that sends every object to the slow path, for a closer look.
func (f Filter) RejectAll() Filter {
	f.pages = 0
	return f
}

// Owner returns the owner word of p's page if an object could start at p, otherwise 0, which no
// stack accepts. A stack compares the word with its own, and so checks cache and node in one step.
func (f *Filter) Owner(p unsafe.Pointer) owner.Word {
	off := uintptr(p) - f.base
	if page := off >> pageShift; page < f.pages && f.starts(off&f.mask) {
		return *(*owner.Word)(unsafe.Add(f.owners, page*4))
	}
	return 0
}

// Owns reports whether Owner(p) is own, which is not 0. It is smaller for the compiler, which
// inlines only so much.
func (f *Filter) Owns(p unsafe.Pointer, own owner.Word) bool {
	off := uintptr(p) - f.base
	page := off >> pageShift
	return page < f.pages && uint64(off&f.mask)*f.magic < f.limit && *(*owner.Word)(unsafe.Add(f.owners, page*4)) == own
}

// Prefix returns how many objects at the front of ps have the owner word own. It is Owner in a
// loop, with the Filter's words in registers.
func (f *Filter) Prefix(ps []unsafe.Pointer, own owner.Word) int {
	base, pages, mask, magic, limit, owners := f.base, f.pages, f.mask, f.magic, f.limit, f.owners
	for i, p := range ps {
		off := uintptr(p) - base
		page := off >> pageShift
		if page >= pages || uint64(off&mask)*magic >= limit || *(*owner.Word)(unsafe.Add(owners, page*4)) != own {
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
