package slub

import (
	"errors"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
)

// A FailureReason says why allocations failed. Its String is the label of
// slubd_cache_alloc_failures_total.
type FailureReason uint8

// The reasons. An error that matches several counts as the first of them.
const (
	FailedClosed     FailureReason = iota // the cache or Buckets are closed
	FailedGroupLimit                      // ErrGroupLimit: of the Group or its parent
	FailedPlacement                       // ErrPlacement: memory of the node can't be had there
	FailedNodeLimit                       // arena.ErrNodeLimit
	FailedLimit                           // arena.ErrLimit: of the arena
	FailedRange                           // arena.ErrExhausted: the node's addresses are used up
	FailedKernel                          // arena.ErrCommit, arena.ErrReserve: the kernel refuses
	FailedTooLarge                        // ErrPrefill, arena.ErrTooLarge: more than could ever fit
	FailedOther                           // for example, a node without memory
	NumFailureReasons
)

// failureReasons names each reason, and has the errors that stand for it.
var failureReasons = [NumFailureReasons]struct {
	name string
	errs []error
}{
	FailedClosed:     {"closed", []error{ErrClosed, arena.ErrClosed}},
	FailedGroupLimit: {"group_limit", []error{ErrGroupLimit}},
	FailedPlacement:  {"placement", []error{ErrPlacement}},
	FailedNodeLimit:  {"node_limit", []error{arena.ErrNodeLimit}},
	FailedLimit:      {"limit", []error{arena.ErrLimit}},
	FailedRange:      {"range", []error{arena.ErrExhausted}},
	FailedKernel:     {"kernel", []error{arena.ErrCommit, arena.ErrReserve}},
	FailedTooLarge:   {"too_large", []error{ErrPrefill, arena.ErrTooLarge}},
	FailedOther:      {name: "other"},
}

// String returns the reason's name, such as "group_limit".
func (r FailureReason) String() string {
	if r >= NumFailureReasons {
		return "unknown"
	}
	return failureReasons[r].name
}

// reasonOf returns the reason that an allocation's error stands for.
func reasonOf(err error) FailureReason {
	for r, reason := range failureReasons {
		for _, e := range reason.errs {
			if errors.Is(err, e) {
				return FailureReason(r)
			}
		}
	}
	return FailedOther
}

// failures counts failed allocations by reason. All CPUs share the counters: what fails has walked
// through the locks of slabs and arena, and makes an error.
type failures [NumFailureReasons]atomic.Uint64

func (f *failures) count(err error) { f[reasonOf(err)].Add(1) }

func (f *failures) read() (n [NumFailureReasons]uint64) {
	for r := range f {
		n[r] = f[r].Load()
	}
	return n
}
