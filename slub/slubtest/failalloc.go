package slubtest

import (
	"sync"
	"testing"

	"github.com/slubd/slubd/slub/internal/failslab"
	"github.com/slubd/slubd/slub/internal/sampling"
)

// Faults says which allocations fail. The zero value lets each fail. (Kernel: the attributes of
// failslab, Documentation/fault-injection.)
type Faults struct {
	// Cache is a pattern, as for path.Match, of the names of caches: others don't fail. Size
	// classes of Buckets have names such as "malloc-64", and large objects the Buckets' name and
	// "-large". "" is all.
	Cache string
	// Nth lets the Nth allocation fail, from 1 on, and no other. 0 lets the fields below say.
	Nth int
	// Probability with which an allocation fails, above 0 and up to 1. 0 is 1.
	Probability float64
	// Interval lets only each Interval-th allocation come to the draw. 0 is 1.
	Interval int
	// Times is how many allocations fail at most. 0 is no limit.
	Times int
	// Space is the number of bytes that are allocated before the first allocation fails.
	Space int64
	// Seed of the draws, so that a run can be repeated.
	Seed uint64
}

// An Injector is what FailAlloc has started. Any goroutine.
type Injector struct {
	draw *draw
	stop func()
}

// FailAlloc lets allocations fail, as f says, until Stop or the end of the test: those of all
// caches and Buckets that are made from now on, or were made since NoLeaks, and have no
// ProfileRate. Those of slub.DefaultBuckets, from which slub.Malloc and slub.Bytes allocate,
// succeed. Errors match slub.ErrNoMemory; AllocNoWait returns slub.ErrWouldBlock. AllocBulk and
// Prefill are one allocation each; what a Prefilled holds, and its Refill, do not fail. The caches
// sample every object, so that each allocation takes a path that can fail: it takes some
// microseconds.
//
// The test's own goroutine calls it, one test at a time. It fails the test for a bad pattern, a
// negative number or a probability above 1.
func FailAlloc(t testing.TB, f Faults) *Injector {
	t.Helper()
	a := attributes{cache: f.Cache, nth: f.Nth, probability: f.Probability, interval: f.Interval, times: f.Times, space: f.Space, seed: f.Seed}
	a.check(t, "FailAlloc")
	i := &Injector{draw: newDraw(a)}
	defaultBuckets(t) // made before SampleAll, as they outlive the test
	ask := failslab.Func(i.draw.hit)
	undo := sampling.SampleAll()
	before := failslab.Set(&ask)
	i.stop = sync.OnceFunc(func() {
		failslab.Set(before)
		undo()
	})
	t.Cleanup(i.stop)
	return i
}

// Stop lets all allocations succeed again. A second call does nothing.
func (i *Injector) Stop() { i.stop() }

// Failed returns how many allocations have failed.
func (i *Injector) Failed() int {
	_, failed := i.draw.counts()
	return failed
}

// Calls returns how many allocations there were of the caches that Faults.Cache matches.
func (i *Injector) Calls() int {
	calls, _ := i.draw.counts()
	return calls
}
