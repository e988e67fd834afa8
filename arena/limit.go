package arena

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// ledger counts the arena's pages that may be resident, over all zones:
//
//	charged = used + dirty + leaving + mapped, the last of mapping.go
//
// charged and dirty share one word, so that a single load tells the pages in
// use from those that could be discarded instead. Both fit: the range has less
// than 1<<32 pages, and what would lead beyond that is refused.
//
// A page is charged before it is taken from a clean block, and no longer once
// the kernel has freed it. Charging is one compare-and-swap of the sum, refused
// if the new sum would exceed the limit. So the sum never does, not even for
// an instant, and an attempt that fails can't make another one fail, as adding
// first and undoing would.
//
// dirty changes with the zones' dirty lists, under their mu, and therefore
// never borrows from charged.
type ledger struct {
	word atomic.Uint64 // charged << 32 | dirty
}

func (l *ledger) load() (charged, dirty uint64) {
	w := l.word.Load()
	return w >> 32, w & (1<<32 - 1)
}

// charge adds n pages about to leave the clean state, or reports that limit,
// in bytes, forbids it.
func (l *ledger) charge(n, limit uint64) bool {
	for {
		w := l.word.Load()
		if sum := w>>32 + n; sum>>32 != 0 || limit != 0 && sum > limit/mem.PageSize {
			return false
		}
		if l.word.CompareAndSwap(w, w+n<<32) {
			return true
		}
	}
}

// uncharge takes off n leaving pages that are clean again.
func (l *ledger) uncharge(n uint64) {
	if invariants.Enabled {
		if charged, dirty := l.load(); charged-dirty < n {
			fail("ledger: %d pages leave, %d are charged, %d dirty", n, charged, dirty)
		}
	}
	l.word.Add(-(n << 32))
}

// soil and pick move n pages into and out of dirty.
func (l *ledger) soil(n uint64) { l.word.Add(n) }
func (l *ledger) pick(n uint64) { l.word.Add(-n) }

// Limit returns the bound in bytes on what may be resident, 0 for none.
func (a *Arena) Limit() uint64 { return a.limit.Load() }

// SetLimit changes the bound, 0 for none, and discards freed runs that exceed
// it. Allocated runs stay: above the limit, Alloc fails until enough of them
// were freed. An Alloc that is under way may still go by the old bound.
func (a *Arena) SetLimit(n uint64) {
	a.limit.Store(n)
	charged, _ := a.ledger.load()
	if bytes := charged * mem.PageSize; n != 0 && bytes > n {
		a.Purge(bytes - n)
	}
}

// full reports whether n more pages exceed the limit even without any dirty
// ones. Preconditions: purging is held, so that none are leaving.
func (a *Arena) full(n uint64) bool {
	charged, dirty := a.ledger.load()
	limit := a.limit.Load()
	return limit != 0 && charged-dirty+n > limit/mem.PageSize
}

// excess is how many dirty bytes are more than Free may leave for reuse: above
// MaxDirty or, once the limit was lowered below what was in use, above that.
func (a *Arena) excess() uint64 {
	if a.cfg.Lock {
		return 0
	}
	pages, dirtyPages := a.ledger.load()
	charged, dirty := pages*mem.PageSize, dirtyPages*mem.PageSize
	most := a.cfg.MaxDirty
	if most == 0 {
		most = max(minDirty(), (charged-dirty)/8)
	}
	if limit := a.limit.Load(); limit != 0 {
		most = min(most, limit-min(limit, charged-dirty))
	}
	return dirty - min(dirty, most)
}

// minDirty is what Free may always leave unless MaxDirty says otherwise: four
// of the largest runs. Checking builds keep less, to discard all the time.
func minDirty() uint64 {
	if invariants.Enabled {
		return maxRun / 4
	}
	return 4 * maxRun
}
