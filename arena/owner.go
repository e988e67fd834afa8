package arena

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Why Head and Owner need no lock.
//
// Alloc (zone.hand) writes the state of all pages of a run before it returns
// it, its owner then writes the owner words (SetOwner) before it gives away
// the first address inside, and both stay as they are until Free (zone.release)
// is called. Whoever asks about an address that he holds got it after the
// former and gives it up before the latter, by the same synchronisation that
// hands over any Go value. So for him the words are constants.
//
// Who asks about an address that isn't his, stale or foreign, gets what was
// true at one instant during the call: each page's byte alone says order and,
// by alignment, head; no second load could contradict it. The answer may be
// outdated at once, which no lock inside the call would change.

// Head finds the run that a page belongs to: its head page and its order. ok is
// false for pages that are free or outside the range. It takes no lock, but
// see above for what the answer means when the caller doesn't hold the run.
func (a *Arena) Head(page uint32) (head uint32, order int, ok bool) {
	if page >= a.Pages() {
		return 0, 0, false
	}
	s := a.pages.state(page)
	if s.kind() != used {
		return 0, 0, false
	}
	return page &^ (1<<s.order() - 1), s.order(), true
}

// Owner returns the owner word of a page, which must be below Pages; 0 for
// none. No lock, as Head.
func (a *Arena) Owner(page uint32) uint32 { return a.pages.owners[page].Load() }

// SetOwner stores word, which is not 0, for all pages of a run that the caller
// has allocated, each atomically, and before anybody else knows the run. Free
// clears them.
func (a *Arena) SetOwner(page uint32, order int, word uint32) { a.pages.own(page, order, word) }

// Owners returns the array that Owner reads, one uint32 for each page of the
// range, so that a caller can find an owner in one load of his own. It is
// off-heap, never moves and is never unmapped. A word is written whole, and before
// anybody knows an object of its run, so that who has been given one may read it by a
// plain load; what he finds for any other address may be old.
func (a *Arena) Owners() unsafe.Pointer { return unsafe.Pointer(&a.pages.owners[0]) }

// Meta returns the 32 bytes, aligned to as many, that are kept for a page
// beside the range. Those of a run's head page belong to the run's owner from
// Alloc, which zeroes them, to Free; all others to the arena.
func (a *Arena) Meta(page uint32) unsafe.Pointer { return mem.Ptr(a.pages.meta(page)) }
