package slab

import "unsafe"

// readChains reads the chains of private slabs ahead, about want links in all: the first of each
// slab, then the second of each, and so on. The links are those that the refill will follow, as
// nothing takes from a private slab and frees only add objects in front.
//
// A refill that goes from slab to slab waits for each link that is in no cache by itself, 100 ns or
// more, where memory serves ten such loads at a time. Here the loads of different slabs don't wait
// for one another. A chain that is left alone is not read on: the refill itself does that as fast.
// What is read is of no use here. The result is, since the compiler keeps the loads for it.
//
//go:noinline
func (s *Slabs) readChains(slabs []Ref, want int) (left int) {
	var at [maxDetached]uintptr
	for i, r := range slabs {
		at[i] = r.first(r.load())
	}
	for left = len(slabs); left > 1 && want > 0; want -= left {
		left = 0
		for i, r := range slabs {
			if at[i] == 0 {
				continue
			}
			next, ok := s.nextInSlab(at[i], r)
			if !ok {
				next = 0
			}
			at[i] = next
			left++
		}
	}
	return left
}

// readFreed reads ahead what FreeBulk will write for each object: the state of its slab, and the
// object's link. A change of a state is a locked instruction, which waits for all stores before it.
// So FreeBulk by itself waits for the object's line and then for the slab's, object by object; here
// none of the loads waits for another. Objects that lie side by side share a page, and the
// processor's prefetcher fetches their lines. An object that is not of these slabs was freed twice:
// its page may be without access. As above, the result is of no use.
//
//go:noinline
func (s *Slabs) readFreed(objs []unsafe.Pointer) (sum uint64) {
	last := ^uint32(0)
	for _, p := range objs {
		page := s.pageOf(p)
		if page == last {
			continue
		}
		last = page
		if s.owns(page) {
			sum += s.slabOf(uintptr(p)).state.Load() + s.StoredLink(uintptr(p))
		}
	}
	return sum
}
