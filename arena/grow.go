package arena

import (
	"errors"

	"github.com/slubd/slubd/internal/mem"
)

// The range and its page map are reserved without access, or read-only. They become writable as the
// range is carved, growStep pages at a time: memory that was never writable counts against no
// overcommit limit and not against RLIMIT_DATA, is not made resident by mlockall, and is in no core
// dump.
//
// The system calls must not run under a zone's mu, which is held for loads and stores only. So a
// zone has a second lock, growing, and a bound, writable. Only a holder of growing changes the
// bound, under mu, after the kernel has made the pages below the new one writable. A holder of mu
// carves below the bound it reads, and therefore touches no page that isn't writable yet. Of
// several goroutines that find the zone short of writable pages one makes the system calls; the
// others wait for growing and then find its pages.
//
// From the second step on, a goroutine makes the next step writable as soon as the last one is
// carved, so that an Alloc seldom waits for the kernel. An arena that stays below growStep never
// starts one.
//
// The kernel merges a step with the writable part before it. So a zone has the same number of
// mappings however often it grows.
const (
	growStep = 1 << MaxOrder
	// mapStep is the number of pages for which the page map grows at a time: 592 KiB for 64 MiB of
	// range, since a step takes six system calls.
	mapStep = 16 * growStep
)

// errNotWritable says that take needs pages that are not writable yet.
var errNotWritable = errors.New("arena: no writable pages are left")

// takeGrowing is take, which makes pages writable where that is needed. Errors: as take's, and
// ErrCommit if the kernel refuses.
func (a *Arena) takeGrowing(z *zone, pages uint32) (Run, error) {
	for {
		run, err := a.take(z, pages)
		if err != errNotWritable {
			return run, err
		}
		if err := a.grow(z); err != nil {
			return Run{}, err
		}
	}
}

// grow makes the next step of a zone writable, unless there are writable pages to carve already.
// It waits for another goroutine that is doing so.
func (a *Arena) grow(z *zone) error {
	z.growing.Lock()
	defer z.growing.Unlock()
	z.mu.Lock()
	short := z.short()
	z.mu.Unlock()
	if !short {
		return nil
	}
	return a.growBy(z, growStep)
}

// growAhead is grow in a goroutine of its own, which take has started. It finds a closed zone not
// short.
func (a *Arena) growAhead(z *zone) {
	_ = a.grow(z) // counted; an Alloc that needs the pages tries again
	z.mu.Lock()
	z.ahead = false
	z.mu.Unlock()
}

// growBy makes the next pages of a zone and their part of the page map writable. If the kernel
// refuses, nothing that others see has changed. Preconditions: growing is held, and the zone has
// that many pages that are not writable.
func (a *Arena) growBy(z *zone, pages uint32) error {
	to := z.writable + pages
	err := a.growMap(z, to)
	if err == nil {
		from := a.Addr(z.writable)
		if err = a.backing.makeWritable(from, a.Addr(to)-from); err == nil {
			poison(from, a.Addr(to)-from)
		}
	}
	z.mu.Lock()
	z.refused = err != nil
	if err == nil {
		z.writable = to
	}
	z.mu.Unlock()
	return a.committed(err)
}

// growMap makes the page map of a zone's pages below to writable. Preconditions: growing is held.
func (a *Arena) growMap(z *zone, to uint32) error {
	if to <= z.mapped {
		return nil
	}
	next := min(z.first+uint32(mem.AlignUp(uintptr(to-z.first), mapStep)), z.end)
	if err := a.pages.makeWritable(z.mapped, next); err != nil {
		return err
	}
	z.mapped = next
	return nil
}

// short reports whether all writable pages are carved, and others are left. Preconditions: mu is
// held.
func (z *zone) short() bool { return z.bump == z.writable && z.writable < z.end && !z.closed }

// startAhead reports whether the caller has to start a goroutine that makes the next step writable,
// and notes that it does. After a refusal the next step waits for an Alloc that needs it.
// Preconditions: mu is held.
func (z *zone) startAhead() bool {
	if !z.short() || z.bump-z.first <= growStep || z.ahead || z.refused {
		return false
	}
	z.ahead = true
	return true
}
