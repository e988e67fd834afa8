package arena

import (
	"errors"

	"github.com/slubd/slubd/internal/mem"
)

// A block on its way to the kernel is in no list: detach takes it out under
// the zone's mu, the system call runs with no zone locked, attach puts it back
// as clean. So Alloc can't hand it out meanwhile, and waits for no system call
// of anybody else unless it must discard itself.

// errLocked says that Config.Lock forbids discarding before Close.
var errLocked = errors.New("arena: pages are locked")

// Purge gives the pages of freed runs back to the kernel, the largest first,
// until target bytes are released; 0 means all that are free now. It returns
// how many bytes were. Their addresses stay reserved and read zero.
func (a *Arena) Purge(target uint64) (released uint64) {
	a.purging.Lock()
	defer a.purging.Unlock()
	if target == 0 {
		_, dirty := a.ledger.load()
		target = dirty * mem.PageSize // an end to it, though others go on freeing
	}
	return a.purge(target)
}

// purge is Purge for whoever holds purging.
func (a *Arena) purge(target uint64) (released uint64) {
	for released < target {
		n, err := a.discardLargest()
		if n == 0 || err != nil {
			break
		}
		released += n
	}
	return released
}

// trim discards the excess of dirty pages, unless somebody is discarding
// already. Whoever is looks again after letting go of purging, and so sees what
// was freed before an attempt to get it failed: one of the two discards. Only a
// few times, though, lest one goroutine discards for all others for ever; what
// is left then, the others' next Free finds.
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

// discardLargest discards the largest dirty block of all zones. Others may
// take or free blocks while it looks, so that it can miss one; 0 bytes don't
// mean that there is none. Preconditions: purging is held.
func (a *Arena) discardLargest() (released uint64, err error) {
	var from *zone
	most := -1
	for i := range a.zones {
		z := &a.zones[i]
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

// discard gives the zone's largest dirty block back to the kernel and returns
// its bytes, 0 if there is none. If the kernel refuses, the block stays dirty.
// Preconditions: purging is held.
func (a *Arena) discard(z *zone) (released uint64, err error) {
	if a.cfg.Lock {
		return 0, errLocked
	}
	page, order, ok := a.detach(z, z.detach)
	if !ok {
		return 0, nil
	}
	if err = a.vacate(z, page, order); err != nil {
		return 0, err
	}
	return mem.PageSize << order, nil
}

// vacate gives a detached block to the kernel and attaches it again, as a dirty
// one if the kernel refuses. Preconditions: purging is held.
func (a *Arena) vacate(z *zone, page uint32, order int) error {
	pages := uint64(1) << order
	kind := clean
	err := a.room.discard(a.Addr(page), uintptr(pages*mem.PageSize))
	if err == nil {
		a.ledger.uncharge(pages)
	} else {
		a.failures.Add(1)
		kind = dirty
	}
	z.mu.Lock()
	z.attach(page, kind, order)
	if kind == dirty {
		a.ledger.soil(pages)
	}
	z.mu.Unlock()
	if kind == dirty {
		a.arm()
	}
	followCoupling()
	return err
}

// detach takes the dirty block that which, one of the zone's, picks out of the
// lists.
func (a *Arena) detach(z *zone, which func() (page uint32, order int, ok bool)) (page uint32, order int, ok bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	page, order, ok = which()
	if ok {
		a.ledger.pick(1 << order)
	}
	return page, order, ok
}
