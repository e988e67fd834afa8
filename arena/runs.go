package arena

import "iter"

// Runs yields the head page and the owner word of every allocated run, in the order of addresses.
// The word is 0 before SetOwner. It is for reports: what it finds may have changed meanwhile. It
// looks at the pages that were ever carved, some 0.2 ms for each GiB of free ones and up to
// milliseconds for each GiB in use, but not at the rest of the range. It takes each node's lock for
// a load. For allocators.
func (a *Arena) Runs() iter.Seq2[uint32, OwnerWord] {
	return func(yield func(head uint32, word OwnerWord) bool) {
		if a.runs.Load() < 0 { // closed: another arena may have the range
			return
		}
		for i := range a.zones {
			if !a.runsOf(&a.zones[i], yield) {
				return
			}
		}
	}
}

// runsOf yields the runs of a zone. It returns false if yield did.
func (a *Arena) runsOf(z *zone, yield func(head uint32, word OwnerWord) bool) bool {
	const inWord = 8 // pages whose states are in one word
	end := z.carved()
	for page := z.first; page < end; {
		if page%inWord == 0 && z.pages.states[page/inWord].Load() == 0 {
			page += inWord // all inside a free block
			continue
		}
		head, pages, ok := a.Head(page)
		if !ok {
			page++
			continue
		}
		if !yield(head, a.Owner(head)) {
			return false
		}
		// Never back, should the run have changed meanwhile.
		page = max(page, head+uint32(pages)-1) + 1
	}
	return true
}

// carved returns the first page of the zone that was never carved.
func (z *zone) carved() uint32 {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.bump
}
