package slub

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/arena"
)

// Compare with errors.Is: most errors that the package returns wrap one of these and add the name
// of the cache and the reason.
var (
	// ErrNoMemory is wrapped by the error of every allocation that fails because there is no
	// memory: the limit of the arena, of a node's memory (arena.ErrNodeLimit) or of a Group, or the
	// arena's range, is used up, or the kernel refuses.
	ErrNoMemory = arena.ErrNoMemory
	// ErrConfig is wrapped by every problem that Config.Validate and BucketsConfig.Validate
	// report, and by the errors of methods for arguments that are out of range.
	ErrConfig = errors.New("slub: bad config")
	// ErrGoPointers is wrapped by NewTyped's error for types that hold Go pointers: the garbage
	// collector would not see them off-heap.
	ErrGoPointers = errors.New("slub: type holds Go pointers")
	// ErrClosed is returned by allocations from a closed cache, closed Buckets or a closed Account.
	ErrClosed = errors.New("slub: cache is closed")
	// ErrWouldBlock is returned by AllocNoWait if no object is at hand, or another goroutine
	// holds the lock of what is.
	ErrWouldBlock = errors.New("slub: allocation would have to wait")
	// ErrBusy is wrapped by Close's error if objects are still in use.
	ErrBusy = errors.New("slub: objects are still in use")
	// ErrSize is wrapped by the error of a Malloc, MallocZero, Realloc or Bytes of a negative
	// number of bytes.
	ErrSize = errors.New("slub: negative size")
	// ErrForeign is wrapped by Realloc's error for a pointer that these Buckets did not return.
	ErrForeign = errors.New("slub: not a pointer that was handed out")
	// ErrPrefill is wrapped by the error of Prefill and Refill for more objects than MaxPrefill, or
	// than the limit of the arena or the Group, or the arena's range, can hold. It matches
	// ErrNoMemory.
	ErrPrefill = fmt.Errorf("%w: more objects than can be prefilled", ErrNoMemory)
	// ErrGroupLimit is wrapped by the error of every allocation that fails because the limit of a
	// Group is reached, or that of its parent. errors.As finds a *GroupError, which names them. It
	// matches ErrNoMemory.
	ErrGroupLimit = fmt.Errorf("%w: the group's limit is reached", ErrNoMemory)
	// ErrAccountLimit is wrapped by the error of every allocation that fails because the limit of
	// its Account is reached. errors.As finds an *AccountError, which names it. It matches
	// ErrNoMemory.
	ErrAccountLimit = fmt.Errorf("%w: the account's limit is reached", ErrNoMemory)
	// ErrGroupBusy is wrapped by Group.Close's error if caches, Buckets, groups or Accounts belong
	// to it.
	ErrGroupBusy = errors.New("slub: group has members")
	// ErrPlacement is wrapped by the errors of AllocNode, MallocNode and PrefillNode where the
	// object would not lie on the node, or where it lies can't be found out. errors.As finds an
	// *arena.PlacementError with the reason. It matches ErrNoMemory.
	ErrPlacement = arena.ErrPlacement
	// ErrNode is wrapped by the errors of AllocNode, MallocNode and PrefillNode for a node that the
	// topology does not have.
	ErrNode = errors.New("slub: no such node")
)
