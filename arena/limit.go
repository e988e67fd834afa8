package arena

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// ledger counts the arena's pages that may be resident, over all zones:
//
//	charged = used + dirty + leaving + mapped, the last of mapping.go
//	dirty   = free[dirty].pages of all zones + pages of kept mappings, see kept.go
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
// dirty changes with the zones' dirty lists, under their mu, and with the kept
// mappings, under mappings.mu, and therefore never borrows from charged.
type ledger struct {
	word atomic.Uint64 // charged << 32 | dirty
}

func (l *ledger) load() (charged, dirty int64) {
	w := l.word.Load()
	return int64(w >> 32), int64(w & (1<<32 - 1))
}

// fits reports whether n more pages would exceed neither the limit, which is in bytes, nor what the
// sum can hold.
func (l *ledger) fits(n, limit int64) bool { return fits(l.word.Load(), n, limit) }

func fits(word uint64, n, limit int64) bool {
	sum := int64(word>>32) + n
	return sum>>32 == 0 && sum <= limit/mem.PageSize
}

// charge adds n pages that are about to leave the clean state, unless they don't fit.
func (l *ledger) charge(n, limit int64) bool {
	for {
		w := l.word.Load()
		if !fits(w, n, limit) {
			return false
		}
		if l.word.CompareAndSwap(w, w+uint64(n)<<32) {
			return true
		}
	}
}

// chargeDirty adds n pages that become dirty without being handed out, unless they don't fit. It is
// one step, as charge: no reader sees the pages in use.
func (l *ledger) chargeDirty(n, limit int64) bool {
	for {
		w := l.word.Load()
		if !fits(w, n, limit) {
			return false
		}
		if l.word.CompareAndSwap(w, w+uint64(n)<<32+uint64(n)) {
			return true
		}
	}
}

// chargeKept makes n dirty pages used ones and adds more that are about to leave the clean state,
// unless they don't fit. It is one step: if it fails, no reader has seen more pages in use.
func (l *ledger) chargeKept(n, more, limit int64) bool {
	for {
		w := l.word.Load()
		if more > 0 && !fits(w, more, limit) {
			return false
		}
		if l.word.CompareAndSwap(w, w+uint64(more)<<32-uint64(n)) {
			return true
		}
	}
}

// uncharge subtracts n leaving pages that are clean again.
func (l *ledger) uncharge(n int64) {
	if invariants.Enabled {
		if charged, dirty := l.load(); charged-dirty < n {
			fail("ledger: %d pages leave, %d are charged, %d dirty", n, charged, dirty)
		}
	}
	l.word.Add(-uint64(n) << 32)
}

// addDirty and subDirty change the number of dirty pages, which stay charged.
func (l *ledger) addDirty(n int64) { l.word.Add(uint64(n)) }
func (l *ledger) subDirty(n int64) { l.word.Add(-uint64(n)) }

// Limit returns the bound in force on what may be resident, in bytes, or Unlimited.
func (a *Arena) Limit() int64 { return a.limit.Load() }

// SetLimit changes the bound to n bytes and discards freed runs and mappings that exceed it. As in
// Config, 0 is automatic: FollowMemory for the default arena, Unlimited for others. Unlike there, n
// may hold no page: no further run or mapping is then handed out, which None says as well.
//
// Allocated runs stay: above the limit, Alloc fails until enough of them have been freed. An Alloc
// that is under way may still use the old bound.
func (a *Arena) SetLimit(n int64) {
	if n == 0 {
		n = a.automaticLimit()
	}
	if n == FollowMemory {
		a.follow.mu.Lock()
		a.follow.on.Store(true)
		a.follow.mu.Unlock()
		total := a.cfg.watch.read()
		a.followMemory(total)
		a.armFollow()
		a.logFollows(total)
		return
	}
	n = max(n, 0)
	a.follow.mu.Lock()
	a.follow.on.Store(false)
	a.limit.Store(n)
	a.follow.mu.Unlock()
	a.purgeAbove(n)
	a.armFollow()
}

// automaticLimit is what a limit of 0 stands for.
func (a *Arena) automaticLimit() int64 {
	if a.cfg.Limit == FollowMemory {
		return FollowMemory
	}
	return Unlimited
}

// full reports whether n more pages would exceed the limit even if no page were dirty.
// Preconditions: purging is held, so that no page is leaving.
func (a *Arena) full(n int64) bool {
	charged, dirty := a.ledger.load()
	return charged-dirty+n > a.limit.Load()/mem.PageSize
}

// excess is the number of dirty bytes beyond what Free may leave for reuse, which is MaxDirty or,
// if it is less, what the limit leaves beside the pages in use.
func (a *Arena) excess() int64 {
	if a.cfg.Lock {
		return 0
	}
	pages, dirtyPages := a.ledger.load()
	charged, dirty := pages*mem.PageSize, dirtyPages*mem.PageSize
	inUse, most := charged-dirty, a.cfg.MaxDirty
	switch most {
	case 0:
		most = max(minDirty(), inUse/8)
	case None:
		most = 0
	}
	most = min(most, max(0, a.limit.Load()-inUse))
	return max(0, dirty-most)
}

// minDirty is the number of bytes that Free may always leave with an automatic MaxDirty: four of
// the largest runs. Builds that check invariants leave less, so that they discard all the time.
func minDirty() int64 {
	if invariants.Enabled {
		return maxRun / 4
	}
	return 4 * maxRun
}
