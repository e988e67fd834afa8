package arena

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// Run is an allocated run of PageSize << Order bytes at Addr(Page), aligned to
// its own size.
type Run struct {
	Page  uint32    // of the range
	Order uint8     // log2 of the pages
	Node  numa.Node // whose range it is from
	Zero  bool      // all bytes are zero: not touched since mmap or discard
}

// Alloc returns a run of 1 << order pages from exactly that node's range. Its
// Meta record is zero, its pages have no owner.
//
// Resident runs come first, at the price of Zero: clearing a page that is in
// memory is cheaper than faulting one in, which clears it as well, and the
// resident set stays small. Only then clean blocks are taken and, last,
// untouched ranges.
//
// Errors: ErrExhausted, ErrLimit and ErrCommit, which match ErrNoMemory;
// ErrClosed, ErrOrder, ErrNode.
func (a *Arena) Alloc(order int, node numa.Node) (Run, error) {
	run, err := a.alloc(order, node)
	if err != nil {
		return Run{}, fmt.Errorf("%w (arena %s, order %d, node %d)", err, a.cfg.Name, order, node)
	}
	return run, nil
}

func (a *Arena) alloc(order int, node numa.Node) (Run, error) {
	i := a.topo.Index(node)
	switch {
	case order < 0 || order > MaxOrder:
		return Run{}, ErrOrder
	case i < 0:
		return Run{}, ErrNode
	case a.runs.Add(1) < 0:
		return Run{}, ErrClosed
	}
	z := &a.zones[i]
	run, err := a.take(z, order)
	if err != nil {
		run, err = a.takeDiscarding(z, order)
	}
	if err != nil {
		a.runs.Add(-1)
		return Run{}, err
	}
	mem.Zero(a.pages.meta(run.Page), metaSize)
	if run.Zero {
		followCoupling() // before the pages become resident
		err = a.commit(run)
	}
	if err != nil {
		a.abandon(z, run)
		a.runs.Add(-1)
	}
	return run, err
}

// take gets a run from the zone's lists or untouched part.
func (a *Arena) take(z *zone, order int) (Run, error) {
	pages := uint64(1) << order
	run := Run{Order: uint8(order), Node: z.node}
	z.mu.Lock()
	defer z.mu.Unlock()
	if page, ok := z.take(dirty, order); ok {
		a.ledger.pick(pages)
		z.hand(page, order)
		run.Page = page
		return run, nil
	}
	if z.free[clean.area()].largest() < order && !z.carve() {
		return Run{}, ErrExhausted
	}
	if !a.ledger.charge(pages, a.limit.Load()) {
		return Run{}, ErrLimit
	}
	run.Page, _ = z.take(clean, order)
	run.Zero = true
	z.hand(run.Page, order)
	return run, nil
}

// takeDiscarding discards dirty blocks until the run can be had: of any zone
// for room below the limit, of its own to merge them with clean ones.
//
// It fails only when it has to. While it holds purging no page is leaving and
// none becomes clean but by its own doing, so that a zone without a dirty
// block had no clean one of the order either when that was seen; and full sees
// at one instant that the pages in use alone leave no room.
func (a *Arena) takeDiscarding(z *zone, order int) (Run, error) {
	a.purging.Lock()
	defer a.purging.Unlock()
	for {
		run, err := a.take(z, order)
		switch {
		case err == nil:
			return run, nil
		case errors.Is(err, ErrLimit):
			if a.full(1 << order) {
				return Run{}, err
			}
			if _, refused := a.discardLargest(); refused != nil {
				return Run{}, err
			}
		default:
			if n, refused := a.discard(z); n == 0 || refused != nil {
				return Run{}, err
			}
		}
	}
}

// commit gives a clean run its memory as the config demands.
func (a *Arena) commit(run Run) error {
	if invariants.Enabled {
		a.checkZero(run)
	}
	return a.commitBytes(a.Addr(run.Page), uintptr(mem.PageSize)<<run.Order)
}

func (a *Arena) commitBytes(addr, n uintptr) error {
	var err error
	switch {
	case a.cfg.Lock:
		err = a.room.lock(addr, n) // which populates
	case a.cfg.Populate:
		err = a.room.populate(addr, n)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCommit, err)
	}
	return nil
}

// abandon takes back a run that could not be committed, and as a clean one: as
// a dirty one it would be handed out next without being committed. What the
// kernel locked before it gave up is unlocked, or it would refuse the discard.
func (a *Arena) abandon(z *zone, run Run) {
	a.purging.Lock()
	defer a.purging.Unlock()
	if a.cfg.Lock {
		_ = a.room.unlock(a.Addr(run.Page), mem.PageSize<<run.Order)
	}
	z.mu.Lock()
	z.withdraw(run.Page, int(run.Order))
	z.mu.Unlock()
	_ = a.vacate(z, run.Page, int(run.Order)) // refused, it stays dirty
}

// Free takes back an allocated run by its head page. The pages lose their
// owner and stay resident for reuse, unless that leaves too much, see
// Config.MaxDirty; then the largest freed runs are discarded here. Others go in
// the background once they are idle, see Config.Decay.
//
// It panics with a *BadFree for any other page.
func (a *Arena) Free(page uint32) {
	z := a.zoneOf(page)
	if z == nil || !a.release(z, page) {
		panic(&BadFree{Arena: a.cfg.Name, Page: page})
	}
	a.runs.Add(-1)
	a.trim()
	a.arm()
}

func (a *Arena) release(z *zone, page uint32) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	order, ok := z.release(page)
	if ok {
		a.ledger.soil(1 << order)
	}
	return ok
}
