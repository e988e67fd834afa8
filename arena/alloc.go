package arena

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/numa"
)

// Run is an allocated run of Pages pages at Addr(Page), aligned to PageSize << Order.
type Run struct {
	Page  uint32    // the first page's number in the range
	Pages uint32    // the number of pages
	Order uint8     // log2 of Pages, rounded up
	Node  numa.Node // the node whose part of the range has the run
	Zero  bool      // all bytes are zero: not touched since mmap or discard
}

// Alloc is AllocPages of 1 << order pages on a node. Errors: as AllocPages; ErrOrder also for an
// order that is negative or above MaxOrder; ErrNode. For allocators.
func (a *Arena) Alloc(order int, node numa.Node) (Run, error) {
	i := a.topo.Index(node)
	switch {
	case i < 0:
		return Run{}, a.allocError(ErrNode, order, node)
	case order < 0 || order > MaxOrder:
		return Run{}, a.allocError(ErrOrder, order, node)
	}
	return a.AllocPages(1<<order, i)
}

func (a *Arena) allocError(err error, order int, node numa.Node) error {
	return fmt.Errorf("%w (arena %s, order %d, node %d)", err, a.cfg.Name, order, node)
}

// AllocPages returns a run of the given number of pages, from 1 to 1 << MaxOrder, from exactly one
// node's part of the range; node is the index of the node in the topology. The run is aligned to
// the number of pages, rounded up to a power of two. Its Meta record is zero, its pages have no
// owner. For allocators. (Kernel: alloc_pages_exact.)
//
// It takes a free block of that power of two, and gives back the pages at the block's end that
// were not asked for, which cost nothing but the addresses. A run is therefore found only where
// the whole block is free. RunPages says which arenas give whole blocks.
//
// Resident blocks are taken first, although their runs are not Zero: clearing a page that is in
// memory is cheaper than faulting one in, which the kernel clears as well, and the resident set
// stays small. Clean blocks are taken next, untouched pages last.
//
// Errors: ErrExhausted, ErrLimit, ErrNodeLimit (a *NodeLimitError), ErrExcluded and ErrCommit,
// which match ErrNoMemory; ErrClosed; ErrOrder for a number of pages that no run has.
func (a *Arena) AllocPages(pages, node int) (Run, error) {
	z := &a.zones[node]
	run, err := a.alloc(a.RunPages(pages), z)
	if err != nil {
		err = z.home.failure(err, int64(a.RunPages(pages)))
		return Run{}, fmt.Errorf("%w (arena %s, %s, node %d)", err, a.cfg.Name, text.Count(pages, "page", "pages"), z.node)
	}
	a.shrinkNear()
	return run, nil
}

// RunPages returns the number of pages of a run for which AllocPages is asked for the given number:
// the same, or with Config.Lock or Populate the next power of two. For allocators.
func (a *Arena) RunPages(pages int) int {
	if pages > 0 && (a.cfg.Lock || a.cfg.Populate) {
		return 1 << orderOf(uint32(pages)) // freeRun's comment says why
	}
	return pages
}

func (a *Arena) alloc(pages int, z *zone) (Run, error) {
	switch {
	case pages < 1 || pages > 1<<MaxOrder:
		return Run{}, ErrOrder
	case z.excluded.Load():
		return Run{}, ErrExcluded
	case a.runs.Add(1) < 0:
		return Run{}, ErrClosed
	}
	run, err := a.takeGrowing(z, uint32(pages))
	if err != nil {
		run, err = a.takeDiscarding(z, uint32(pages), err)
	}
	if err != nil {
		a.runs.Add(-1)
		return Run{}, err
	}
	mem.Zero(a.pages.meta(run.Page), metaSize)
	unpoison(a.Addr(run.Page), run.bytes())
	if run.Zero {
		followCoupling() // before the pages become resident
		a.armFollow()
		a.armObserver()
		err = a.commit(run)
	}
	if err != nil {
		a.returnUncommitted(z, run)
		a.runs.Add(-1)
	}
	return run, err
}

// take gets a run from the zone's lists or its untouched part. It returns errNotWritable if only
// pages that are not writable are left, and the limit has room for them.
func (a *Arena) take(z *zone, pages uint32) (Run, error) {
	z.mu.Lock()
	run, err := a.takeLocked(z, pages)
	ahead := z.startAhead()
	z.mu.Unlock()
	if ahead {
		go a.growAhead(z)
	}
	return run, err
}

// takeLocked is take for a holder of mu.
func (a *Arena) takeLocked(z *zone, pages uint32) (Run, error) {
	order := orderOf(pages)
	run := Run{Pages: pages, Order: uint8(order), Node: z.node}
	if page, ok := z.take(dirty, pages); ok {
		a.subDirty(z.home, int64(pages))
		z.hand(page, pages)
		run.Page = page
		return run, nil
	}
	if z.free[clean.area()].largest() < order {
		switch {
		case z.carve():
		case !z.short():
			return Run{}, ErrExhausted
		default:
			if err := a.room(z.home, int64(pages)); err != nil {
				return Run{}, err
			}
			return Run{}, errNotWritable
		}
	}
	if err := a.tryCharge(z.home, int64(pages)); err != nil {
		return Run{}, err
	}
	run.Page, _ = z.take(clean, pages)
	run.Zero = true
	z.hand(run.Page, pages)
	return run, nil
}

// takeDiscarding discards dirty blocks until take succeeds: blocks of any zone to get below the
// arena's limit, blocks in the memory of z's node to get below the node's, blocks of z to merge
// them with clean ones. failure is why takeGrowing failed. If that was
// the kernel's refusal to make pages writable, it is not asked again.
//
// It fails only when it has to. While it holds purging, no page is leaving and only this goroutine
// makes pages clean. So a zone without a dirty block had no clean block of the size either when
// that was seen, and full sees at one instant that the pages in use alone leave no room.
func (a *Arena) takeDiscarding(z *zone, pages uint32, failure error) (Run, error) {
	a.purging.Lock()
	defer a.purging.Unlock()
	for {
		var run Run
		var err error
		if errors.Is(failure, ErrCommit) {
			if run, err = a.take(z, pages); err == errNotWritable {
				err = failure
			}
		} else {
			run, err = a.takeGrowing(z, pages)
			failure = err
		}
		switch {
		case err == nil:
			return run, nil
		case errors.Is(err, ErrLimit), errors.Is(err, ErrNodeLimit):
			if a.makeRoom(z.home, int64(pages), err) != nil {
				return Run{}, err
			}
		default:
			if n, refused := a.discard(z); n == 0 || refused != nil {
				return Run{}, err
			}
		}
	}
}

// bytes is the size of a run.
func (r Run) bytes() uintptr { return uintptr(r.Pages) * mem.PageSize }

// commit gives a clean run its memory, if the config demands that.
func (a *Arena) commit(run Run) error {
	if invariants.Enabled {
		a.checkZero(run)
	}
	return a.commitBytes(a.Addr(run.Page), run.bytes())
}

func (a *Arena) commitBytes(addr, n uintptr) error {
	var err error
	switch {
	case a.cfg.Lock:
		err = a.backing.lock(addr, n) // populates as well
	case a.cfg.Populate:
		err = a.backing.populate(addr, n)
	}
	return a.committed(err)
}

// committed counts the kernel's refusal to commit memory, if err is one, and makes it an ErrCommit.
func (a *Arena) committed(err error) error {
	if err == nil {
		return nil
	}
	a.refusals.Add(1)
	return fmt.Errorf("%w: %w", ErrCommit, err)
}

// returnUncommitted takes back a run that could not be committed, as a clean one: the next Alloc
// would hand out a dirty one without committing it. It unlocks what the kernel locked before it
// gave up: RLIMIT_MEMLOCK counts that even without pages, and before Linux 5.18 the kernel doesn't
// discard locked pages.
func (a *Arena) returnUncommitted(z *zone, run Run) {
	a.purging.Lock()
	defer a.purging.Unlock()
	poison(a.Addr(run.Page), run.bytes())
	if a.cfg.Lock {
		_ = a.backing.unlock(a.Addr(run.Page), run.bytes())
	}
	z.mu.Lock()
	z.detachRun(run.Page, run.Pages)
	z.mu.Unlock()
	for page, order := range blocks(run.Page, run.Page+run.Pages) {
		_ = a.discardDetached(z, page, order) // stays dirty if the kernel refuses
	}
}

// Free frees an allocated run by its head page. The pages lose their owner and stay resident for
// reuse. If more than Config.MaxDirty are then free, Free discards the largest blocks. Others are
// discarded in the background once they are idle, see Config.Decay. For allocators.
//
// It panics with a *BadFree for any other page.
func (a *Arena) Free(page uint32) {
	z := a.zoneOf(page)
	if z == nil || !a.freeRun(z, page) {
		panic(&BadFree{Arena: a.cfg.Name, Page: page})
	}
	a.runs.Add(-1)
	a.trim()
	a.arm()
}

func (a *Arena) freeRun(z *zone, page uint32) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	pages, ok := z.runAt(page)
	if !ok {
		return false
	}
	poison(a.Addr(page), uintptr(pages)*mem.PageSize)
	// The block that the run was cut from becomes whole again, so that the next run of its size
	// fits there. If its rest is clean it is charged: otherwise a run that is allocated and freed
	// again and again would find new pages each time. Pages that are dirty count as committed, so
	// this is not for arenas that commit; runs there have no rest.
	if n := z.cleanRest(page, pages); n > 0 && a.tryChargeDirty(z.home, int64(n)) == nil {
		z.dirtyRest(page, pages)
	}
	z.freeRun(page, pages)
	a.addDirty(z.home, int64(pages))
	return true
}
