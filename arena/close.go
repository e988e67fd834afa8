package arena

import (
	"errors"
	"fmt"
	"math"

	"github.com/slubd/slubd/internal/text"
)

// closed is what Close stores in Arena.runs: so far below zero that no number of Allocs, each
// adding one, makes it positive again.
const closed = math.MinInt64 / 2

// Close gives all memory back to the kernel. The addresses stay reserved for the life of the
// process, and the next arena that divides its range alike uses them, so that a stale
// pointer meets zeroes or memory of a later arena, never the Go heap. Until then what was handed
// out can be read but not written. Calls on a closed arena are safe: Alloc and Map fail, Free finds
// no run; Owner and Head may answer for the arena that has the addresses by now.
//
// Errors: ErrBusy with the counts while runs or mappings are allocated, and then nothing is
// changed. Any other error is the kernel's: the arena is closed, and its addresses are not used
// again. Close of a nil or closed arena does nothing.
func (a *Arena) Close() error {
	if a == nil {
		return nil
	}
	// Every Alloc adds to runs before it looks at a zone. So if this succeeds, no Alloc is under
	// way, and later ones see a negative sum.
	for !a.runs.CompareAndSwap(0, closed) {
		switch n := a.runs.Load(); {
		case n < 0:
			return nil
		case n > 0:
			return a.busy()
		}
	}
	removeName(a)
	a.stopDecay()
	a.stopObserver()
	a.purging.Lock() // from here on no page is leaving
	defer a.purging.Unlock()
	err := errors.Join(a.giveRange(), a.big.giveAll())
	a.ledger.word.Store(0)
	for i := range a.homes {
		a.homes[i].word.Store(0)
	}
	followClose()
	a.watchPressure()
	if err != nil {
		return fmt.Errorf("arena %s: closing: %w", a.cfg.Name, err)
	}
	return nil
}

// busy returns the error that says what is still allocated.
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
