package sampling

import (
	"sync"
	"sync/atomic"
)

// all is how many callers of SampleAll have not called what it has returned.
var all atomic.Int32

// SampleAll has caches and Buckets that are made from now on sample every object, unless their
// config has a rate. It holds until undo is called, or longer if others have called it.
func SampleAll() (undo func()) {
	all.Add(1)
	return sync.OnceFunc(func() { all.Add(-1) })
}

// All reports whether SampleAll holds.
func All() bool { return all.Load() > 0 }
