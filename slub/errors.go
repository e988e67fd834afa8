package slub

import (
	"errors"

	"github.com/slubd/slubd/arena"
)

var (
	// ErrNoMemory is wrapped by the errors of every allocation that fails for want
	// of memory: the arena's limit, its range, or the kernel's refusal.
	ErrNoMemory = arena.ErrNoMemory
	// ErrConfig is wrapped by every problem that Config.Validate and BucketsConfig.Validate
	// report, and by the errors of methods that were asked for what can't be.
	ErrConfig = errors.New("slub: bad config")
	// ErrGoPointers is returned by NewTyped for types that hold Go pointers, which
	// the collector would not see off-heap.
	ErrGoPointers = errors.New("slub: type holds Go pointers")
	// ErrClosed is returned by allocations from a closed cache.
	ErrClosed = errors.New("slub: cache is closed")
	// ErrWouldBlock is returned by AllocNoWait when there is nothing at hand, or somebody
	// has the lock of what there is.
	ErrWouldBlock = errors.New("slub: allocation would have to wait")
	// ErrBusy is wrapped by Close's error when objects are still in use.
	ErrBusy = errors.New("slub: objects are still in use")
	// ErrSize says that a number of bytes is negative.
	ErrSize = errors.New("slub: negative size")
	// ErrForeign is wrapped by Realloc's error when it was given what is no object.
	ErrForeign = errors.New("slub: not a pointer that was handed out")
	// ErrNode says that the topology has no such node.
	ErrNode = errors.New("slub: no such node")
)
