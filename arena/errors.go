package arena

import (
	"errors"
	"fmt"
)

// Memory is the cause: all of these match ErrNoMemory.
var (
	// ErrNoMemory is what every failure for want of memory wraps.
	ErrNoMemory = errors.New("arena: out of memory")
	// ErrExhausted says that no free run of the wanted order is left in the
	// node's range, even after discarding what is free.
	ErrExhausted = fmt.Errorf("%w: the node's range is full", ErrNoMemory)
	// ErrLimit says that the run would exceed the arena's limit, with nothing
	// left to discard.
	ErrLimit = fmt.Errorf("%w: the limit is reached", ErrNoMemory)
	// ErrReserve says that the kernel refused even the smallest range; the
	// errno is wrapped beside it.
	ErrReserve = fmt.Errorf("%w: the kernel refuses the reservation", ErrNoMemory)
	// ErrTooLarge says that no mapping may have so many bytes, whatever memory there is.
	ErrTooLarge = fmt.Errorf("%w: more than the largest mapping's %d bytes (8 TiB)", ErrNoMemory, uint64(maxMapping))
	// ErrCommit says that the kernel would not populate or lock a run; the
	// errno is wrapped beside it.
	ErrCommit = fmt.Errorf("%w: the kernel refuses to commit the run", ErrNoMemory)
)

// The caller or the machine is the cause.
var (
	// ErrClosed is returned by Alloc after Close.
	ErrClosed = errors.New("arena: closed")
	// ErrBusy is returned by Close while runs are allocated.
	ErrBusy = errors.New("arena: runs are still allocated")
	// ErrCoupled says that another coupling of GOMEMLIMIT is in force.
	ErrCoupled = errors.New("arena: GOMEMLIMIT is coupled already")
	// ErrOrder says that an order is negative or above MaxOrder.
	ErrOrder = errors.New("arena: no such order")
	// ErrNode says that the topology has no such node; NoNode is none.
	ErrNode = errors.New("arena: no such node")
	// ErrConfig is wrapped by every problem that Config.Validate reports.
	ErrConfig = errors.New("arena: bad config")
	// ErrPageSize says that the kernel's pages are not of mem.PageSize, so
	// that a run could not be discarded by itself.
	ErrPageSize = errors.New("arena: unsupported kernel page size")
)

// BadFree is what Free panics with: the page is not the head of an allocated
// run, so the caller frees twice or frees what it doesn't own. Going on would
// give the same pages to two owners.
type BadFree struct {
	Arena string
	Page  uint32
}

// Error names the page.
func (e *BadFree) Error() string {
	return fmt.Sprintf("arena %s: Free(%d): not the head of an allocated run", e.Arena, e.Page)
}
