package arena

import (
	"errors"
	"fmt"
)

// These errors are about a lack of memory; all match ErrNoMemory.
var (
	// ErrNoMemory is wrapped by every error about a lack of memory.
	ErrNoMemory = errors.New("arena: out of memory")
	// ErrExhausted says that the node's range has no free run of the wanted order, even after its
	// free blocks were discarded and merged.
	ErrExhausted = fmt.Errorf("%w: the node's range is full", ErrNoMemory)
	// ErrLimit says that the run or mapping would exceed the arena's limit, with nothing left to
	// discard.
	ErrLimit = fmt.Errorf("%w: the limit is reached", ErrNoMemory)
	// ErrNodeLimit says that the run or mapping would exceed the limit of a node's memory, with
	// nothing left to discard there. It comes with a *NodeLimitError.
	ErrNodeLimit = fmt.Errorf("%w: the node's limit is reached", ErrNoMemory)
	// ErrReserve says that the kernel refused even the smallest range, or a mapping. It comes with
	// the errno.
	ErrReserve = fmt.Errorf("%w: the kernel refuses the reservation", ErrNoMemory)
	// ErrTooLarge says that the size is above that of the largest mapping, whatever memory there
	// is.
	ErrTooLarge = fmt.Errorf("%w: more than the largest mapping's %d bytes (8 TiB)", ErrNoMemory, uint64(MaxMapping))
	// ErrCommit says that the kernel would not make a run or mapping writable, populate it or lock
	// it, for example because of RLIMIT_DATA or strict overcommit. It comes with the errno.
	// Nothing is lost, and a later call asks again.
	ErrCommit = fmt.Errorf("%w: the kernel refuses to commit the run", ErrNoMemory)
)

// These errors are about the call or the machine.
var (
	// ErrClosed is returned by Alloc after Close.
	ErrClosed = errors.New("arena: closed")
	// ErrBusy is returned by Close while runs or mappings are allocated.
	ErrBusy = errors.New("arena: runs are still allocated")
	// ErrCoupled says that another coupling of GOMEMLIMIT is in force.
	ErrCoupled = errors.New("arena: GOMEMLIMIT is coupled already")
	// ErrOrder says that an order is negative or above MaxOrder, or that no run has that number of
	// pages.
	ErrOrder = errors.New("arena: no such order")
	// ErrNode says that the topology has no such node. numa.NoNode is no node.
	ErrNode = errors.New("arena: no such node")
	// ErrConfig is wrapped by every problem that Config.Validate reports.
	ErrConfig = errors.New("arena: bad config")
	// ErrPageSize says that the kernel's pages don't have 4 KiB, so that a run could not be
	// discarded alone.
	ErrPageSize = errors.New("arena: unsupported kernel page size")
)

// BadFree is what Free panics with. The page is not the head of an allocated run: the caller has
// freed it already or doesn't own it. If Free went on, the same pages would get two owners.
type BadFree struct {
	Arena string // the arena's name
	Page  uint32
}

// Error names the page.
func (e *BadFree) Error() string {
	return fmt.Sprintf("arena %s: Free(%d): not the head of an allocated run", e.Arena, e.Page)
}
