package slubtest

import (
	"math/rand/v2"
	"path"
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
	mu     sync.Mutex // a leaf
	faults Faults
	space  int64
	rng    *rand.Rand
	calls  int
	failed int
	stop   func()
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
	if _, err := path.Match(f.Cache, ""); err != nil {
		t.Fatalf("slubtest: pattern %q of caches: %v", f.Cache, err)
	}
	if f.Nth < 0 || f.Interval < 0 || f.Times < 0 || f.Space < 0 || !(f.Probability >= 0 && f.Probability <= 1) {
		t.Fatalf("slubtest: faults %+v: negative, or more than certain", f)
	}
	i := &Injector{faults: f, space: f.Space, rng: rand.New(rand.NewPCG(f.Seed, 0))}
	defaultBuckets(t) // made before SampleAll, as they outlive the test
	ask := failslab.Func(i.fails)
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
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.failed
}

// Calls returns how many allocations there were of the caches that Faults.Cache matches.
func (i *Injector) Calls() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// fails is the failslab.Func. (Kernel: should_fail_ex.)
func (i *Injector) fails(cache string, bytes int64) bool {
	f := &i.faults
	if ok, _ := path.Match(f.Cache, cache); f.Cache != "" && !ok {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if f.Nth > 0 {
		if i.calls != f.Nth {
			return false
		}
		i.failed++
		return true
	}
	if i.space >= bytes && f.Space > 0 {
		i.space -= bytes
		return false
	}
	i.space = 0
	switch {
	case f.Times > 0 && i.failed >= f.Times:
		return false
	case f.Interval > 1 && i.calls%f.Interval != 0:
		return false
	case f.Probability > 0 && i.rng.Float64() >= f.Probability:
		return false
	}
	i.failed++
	return true
}
