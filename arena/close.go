package arena

import (
	"errors"
	"fmt"
	"math"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/text"
)

// closed is what Close makes of Arena.runs: so far below zero that no number
// of Allocs, each adding one, brings it back.
const closed = math.MinInt64 / 2

// Close gives all memory back to the kernel. The addresses stay reserved, and
// the page map readable, for the life of the process, so that a stale pointer
// reaches neither the Go heap nor a fault in Owner or Head; only an arena that
// never handed out a run is unmapped.
//
// Errors: ErrBusy with the counts while runs are allocated, and then nothing
// is changed. A nil or closed arena is fine.
func (a *Arena) Close() error {
	if a == nil {
		return nil
	}
	// Every Alloc adds to runs before it looks at a zone, so if this succeeds
	// none is under way, and those that come later see a negative sum.
	for !a.runs.CompareAndSwap(0, closed) {
		switch n := a.runs.Load(); {
		case n < 0:
			return nil
		case n > 0:
			return a.busy()
		}
	}
	a.stopDecay()
	a.purging.Lock() // nothing is leaving from here on
	defer a.purging.Unlock()
	var errs []error
	virgin := true
	for i := range a.zones {
		from, to := a.zones[i].reset()
		if from == to {
			continue
		}
		virgin = false
		if a.cfg.Lock {
			errs = append(errs, a.room.unlock(a.Addr(from), a.Addr(to)-a.Addr(from)))
		}
		errs = append(errs, a.room.discard(a.Addr(from), a.Addr(to)-a.Addr(from)))
	}
	a.ledger.word.Store(0)
	leaveCoupling()
	if virgin {
		errs = append(errs, a.room.release())
	}
	errs = append(errs, a.pages.discard())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("arena %s: closing: %w", a.cfg.Name, err)
	}
	return nil
}

// reset makes the zone an untouched one, [from, to) being what it had carved.
// Preconditions: no run is allocated and no block is leaving.
func (z *zone) reset() (from, to uint32) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if invariants.Enabled {
		z.check()
	}
	from, to = z.first, z.bump
	z.free = [2]freeArea{}
	z.idle = idle{}
	z.bump = z.first
	return from, to
}

// busy describes what is allocated.
func (a *Arena) busy() error {
	s := a.Stats()
	runs, bytes := uint64(0), s.Mapped
	for _, n := range s.Nodes {
		runs += n.Runs
		bytes += n.Used
	}
	return fmt.Errorf("arena %s: %w: %s, %s, %s", s.Name, ErrBusy, text.Count(runs, "run", "runs"),
		text.Count(s.Mappings, "mapping", "mappings"), text.Count(bytes, "byte", "bytes"))
}
