package arena

import (
	"cmp"
	"errors"

	"github.com/slubd/slubd/internal/mem"
)

// A block that is being discarded is in no list: detach takes it out under the zone's mu, the
// system call runs with no zone locked, attach puts it back as clean. So Alloc can't hand the block
// out meanwhile, and it waits for another goroutine's system call only if it must discard itself.

// errLocked says that Config.Lock forbids discarding before Close.
var errLocked = errors.New("arena: pages are locked")

// Purge gives the pages of freed mappings and runs back to the kernel, the largest first, until
// target bytes are released. 0 is automatic, and like Unlimited means all that are free now. It
// returns the number of bytes released. Their addresses stay reserved and read zero.
func (a *Arena) Purge(target int64) (released int64) {
	a.purging.Lock()
	defer a.purging.Unlock()
	if target == 0 || target == Unlimited {
		_, dirty := a.ledger.load()
		target = dirty * mem.PageSize // so that it ends although others keep freeing
	}
	return a.purge(target)
}

// purge is Purge for a caller that holds purging.
func (a *Arena) purge(target int64) (released int64) {
	for released < target {
		n, err := a.discardLargest(nil)
		if n == 0 || err != nil {
			break
		}
		released += n
	}
	return released
}

// trim discards the excess of dirty pages, unless another goroutine is discarding. That one looks
// again after it has unlocked purging, and so sees what was freed before another failed to lock it:
// one of the two discards. It looks again a few times only, so that one goroutine doesn't discard
// for all others for ever; the next Free of the others finds what is left.
func (a *Arena) trim() {
	for range 4 {
		excess := a.excess()
		if excess == 0 || !a.purging.TryLock() {
			return
		}
		released := a.purge(excess)
		a.purging.Unlock()
		if released == 0 {
			return
		}
	}
}

// discardLargest discards the end of a kept mapping or the largest dirty block of all zones; if of
// is not nil, of those in that memory. Mappings and runs that are free share MaxDirty, and those
// that have more of it give up some: otherwise a mapping that comes and goes would lose its pages
// each time, while runs that nothing needs stayed until Decay. Other goroutines may take or free
// blocks while it looks, so it can miss one: 0 bytes don't mean that there is none. Preconditions:
// purging is held.
func (a *Arena) discardLargest(of *nodeLedger) (released int64, err error) {
	first := func() (int64, error) { return a.discardKept(false, of) }
	second := func() (int64, error) { return a.discardRun(of) }
	if of == nil && a.moreInRuns() {
		first, second = second, first
	}
	if released, err = first(); released > 0 {
		return released, nil
	}
	// If the kernel refuses, which may be due to one mapping, the others are tried.
	released, refused := second()
	if released > 0 {
		return released, nil
	}
	return 0, cmp.Or(refused, err)
}

// moreInRuns reports whether more pages of runs are dirty than of kept mappings.
func (a *Arena) moreInRuns() bool {
	_, dirty := a.ledger.load()
	a.big.mu.Lock()
	defer a.big.mu.Unlock()
	return dirty*mem.PageSize > 2*a.big.free
}

// discardRun discards the largest dirty block of all zones, or of those in the given memory.
// Preconditions: purging is held.
func (a *Arena) discardRun(of *nodeLedger) (released int64, err error) {
	var from *zone
	most := -1
	for i := range a.zones {
		z := &a.zones[i]
		if of != nil && z.home != of {
			continue
		}
		z.mu.Lock()
		order := z.free[dirty.area()].largest()
		z.mu.Unlock()
		if order > most {
			from, most = z, order
		}
	}
	if from == nil {
		return 0, nil
	}
	return a.discard(from)
}

// discard gives the zone's largest dirty block to the kernel and returns its bytes, 0 if there is
// none. If the kernel refuses, the block stays dirty. Preconditions: purging is held.
func (a *Arena) discard(z *zone) (released int64, err error) {
	if a.cfg.Lock {
		return 0, errLocked
	}
	page, order, ok := a.detach(z, z.detach)
	if !ok {
		return 0, nil
	}
	if err = a.discardDetached(z, page, order); err != nil {
		return 0, err
	}
	return mem.PageSize << order, nil
}

// discardDetached gives a detached block to the kernel and attaches it again, as a clean one, or as
// a dirty one if the kernel refuses. Preconditions: purging is held.
func (a *Arena) discardDetached(z *zone, page uint32, order int) error {
	pages := int64(1) << order
	kind := clean
	a.keepSmall(z, page, order)
	err := a.backing.discard(a.Addr(page), uintptr(pages*mem.PageSize))
	if err == nil {
		a.uncharge(z.home, pages)
	} else {
		a.failures.Add(1)
		kind = dirty
	}
	z.mu.Lock()
	z.attach(page, kind, order)
	if kind == dirty {
		a.addDirty(z.home, pages)
	}
	z.mu.Unlock()
	if kind == dirty {
		a.arm()
	}
	followCoupling()
	return err
}

// hugeOrder is the order of a huge page.
const hugeOrder = 9

// keepSmall prepares to discard a block that is less than a huge page. khugepaged would look for
// the hole later, and put a huge page in the place of what is left there: as much would be resident
// again as before. So under HugeDefault all pages that were carved by now get no more huge pages.
// It is one part of the zone, which only grows, and 4 MiB at least each time: the advice costs one
// mapping in all, and few calls. Pages that are carved later aren't in it. Preconditions: purging
// is held.
func (a *Arena) keepSmall(z *zone, page uint32, order int) {
	if a.cfg.HugePages != HugeDefault || order >= hugeOrder || page < z.small {
		return
	}
	z.mu.Lock()
	end := z.bump
	z.mu.Unlock()
	a.backing.keepSmall(a.Addr(z.small), uintptr(end-z.small)*mem.PageSize)
	z.small = end
}

// detach takes a dirty block out of the zone's lists. which chooses it: zone.detach or
// zone.detachIdle.
func (a *Arena) detach(z *zone, which func() (page uint32, order int, ok bool)) (page uint32, order int, ok bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	page, order, ok = which()
	if ok {
		a.subDirty(z.home, 1<<order)
	}
	return page, order, ok
}
