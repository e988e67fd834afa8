package arena

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// Why Head and Owner need no lock.
//
// Alloc (zone.hand) writes the state of all pages of a run before it returns the run. The run's
// owner then writes the owner words (SetOwner) before it gives away the first address inside. Both
// stay as they are until Free (zone.freeRun) is called. A caller that holds an address in the run
// got it after these writes and gives it up before Free, by the same synchronisation that hands
// over any Go value. So for this caller the words are constants.
//
// A caller that asks about an address which it doesn't hold, stale or foreign, gets what was true
// at one instant during the call: the byte of a page alone says the order and, by alignment, the
// head; no second load could contradict it. Only the number of pages takes further loads. It is
// then between what two runs of the order may have, which such a caller must expect. The answer may
// be outdated at once, which no lock inside the call would change.

// Head finds the run that a page belongs to: its head page and its number of pages. ok is false for
// pages that are free or outside the range. It takes no lock; for a caller that doesn't hold the
// run, the answer may be outdated at once. For allocators.
func (a *Arena) Head(page uint32) (head uint32, pages int, ok bool) {
	if page >= a.Pages() {
		return 0, 0, false
	}
	s := a.pages.state(page)
	if s.kind() != used {
		return 0, 0, false
	}
	head = page &^ (1<<s.order() - 1)
	return head, int(a.pages.runPages(head, s)), true
}

// OwnerWord says whose a page is. The arena gives it no meaning, but that 0 is none.
type OwnerWord = owner.Word

// Owner returns the owner word of a page, which must be below Pages; 0 for none. It takes no lock,
// as Head. For allocators.
func (a *Arena) Owner(page uint32) OwnerWord { return OwnerWord(a.pages.owners[page].Load()) }

// SetOwner stores word, which is not 0, for the pages of a run that the caller has allocated, each
// atomically. It is called before any other goroutine knows the run. Free clears the words. For
// allocators.
func (a *Arena) SetOwner(page uint32, pages int, word OwnerWord) {
	a.pages.setOwner(page, uint32(pages), word)
}

// SwapOwner replaces a page's word by another if it is old, in one atomic step, and reports whether
// it did. Of two goroutines that free the same run at once, one gets true. The caller may be wrong
// about the page: it looks at Head again, and swaps back if the page is not what it thought. For
// allocators.
func (a *Arena) SwapOwner(page uint32, old, word OwnerWord) bool {
	return a.pages.owners[page].CompareAndSwap(uint32(old), uint32(word))
}

// Owners returns the array that Owner reads, one OwnerWord for each page of the range, so that a
// caller can find an owner with a single load. The array is off-heap, never moves and is never
// unmapped. A word is written whole, and before any goroutine knows an object of its run. So a
// goroutine that has been given an object may read the word by a plain load; the word of any other
// address may be old. For allocators.
func (a *Arena) Owners() unsafe.Pointer { return unsafe.Pointer(&a.pages.owners[0]) }

// Meta returns the 32 bytes, aligned to 32, that the page map has for a page. Those of a run's head
// page belong to the run's owner from Alloc, which zeroes them, to Free. All others belong to the
// arena. For allocators.
func (a *Arena) Meta(page uint32) unsafe.Pointer { return mem.Ptr(a.pages.meta(page)) }
