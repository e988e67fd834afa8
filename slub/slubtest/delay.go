package slubtest

import (
	"sync"
	"testing"
	"time"

	"github.com/slubd/slubd/slub/internal/failslab"
)

// A SlowPath is a part of package slub that an operation enters seldom, and that takes long. They
// are bits: Refill|NewSlab is both.
type SlowPath uint8

const (
	// Refill: objects are taken from slabs, for a sheaf or for the caller. (Kernel: refill_sheaf,
	// ___slab_alloc.)
	Refill = SlowPath(failslab.Refill)
	// NewSlab: pages are allocated for a slab. (Kernel: allocate_slab.)
	NewSlab = SlowPath(failslab.NewSlab)
	// Flush: objects go back to their slabs. (Kernel: sheaf_flush_unused, __slab_free.)
	Flush = SlowPath(failslab.Flush)
	// Reclaim: what FreeRCU took becomes free, a sheaf or a part of a list at a time. (Kernel:
	// __rcu_free_sheaf_prepare.)
	Reclaim = SlowPath(failslab.Reclaim)
	// Large: Malloc or Free of more than the size classes have. (Kernel: ___kmalloc_large_node,
	// free_large_kmalloc.)
	Large = SlowPath(failslab.Large)
)

// Delays says which slow paths take longer, and by how much.
type Delays struct {
	// By is how much longer a slow path takes, at least.
	By time.Duration
	// Paths are those that may take longer. 0 is all.
	Paths SlowPath
	// Cache is a pattern of the names of caches, as in Faults.
	Cache string
	// Nth, Probability, Interval, Times and Seed say which of them take longer, as in Faults they
	// say which allocations fail.
	Nth         int
	Probability float64
	Interval    int
	Times       int
	Seed        uint64
}

// A Delayer is what DelaySlowPaths has started. Any goroutine.
type Delayer struct {
	draw *draw
	stop func()
}

// DelaySlowPaths makes slow paths take longer, as d says, until Stop or the end of the test: those
// of all caches and Buckets, whenever they were made. So a test sees what its program does when a
// refill meets a busy machine, or when the kernel takes long for pages. The goroutine whose
// operation takes a slow path sleeps, under no lock that an operation of another goroutine waits
// for. Close, Shrink and SetSheafCapacity wait for flushes, and take longer by each of these.
// AllocNoWait, MallocNoWait, FreeDeferred and FreeRCUNoWait have no such paths.
//
// Alloc takes a slow path when the sheaves at hand are empty, and Free when they are full. A sheaf
// may hold hundreds of small objects. With NoSheaves each Alloc is a Refill and each Free a Flush;
// in a debug cache each Alloc is a Refill.
//
// The test's own goroutine calls it, one test at a time. It fails the test for a bad pattern, a
// negative number, a probability above 1, or an unknown path.
func DelaySlowPaths(t testing.TB, d Delays) *Delayer {
	t.Helper()
	a := attributes{cache: d.Cache, nth: d.Nth, probability: d.Probability, interval: d.Interval, times: d.Times, seed: d.Seed}
	a.check(t, "DelaySlowPaths")
	paths := failslab.Path(d.Paths)
	if paths == 0 {
		paths = failslab.AllPaths
	}
	if paths&^failslab.AllPaths != 0 {
		t.Fatalf("slubtest: DelaySlowPaths: there are no paths %#b", paths&^failslab.AllPaths)
	}
	if d.By < 0 {
		t.Fatalf("slubtest: DelaySlowPaths: By is negative: %v", d.By)
	}
	delayer := &Delayer{draw: newDraw(a)}
	delay := failslab.DelayFunc(func(path failslab.Path, cache string) {
		if path&paths != 0 && delayer.draw.hit(cache, 0) {
			time.Sleep(d.By)
		}
	})
	before := failslab.SetDelay(&delay)
	delayer.stop = sync.OnceFunc(func() { failslab.SetDelay(before) })
	t.Cleanup(delayer.stop)
	return delayer
}

// Stop ends the delays. Operations that sleep go on sleeping. A second call does nothing.
func (d *Delayer) Stop() { d.stop() }

// Delayed returns how many slow paths have taken longer, or are about to.
func (d *Delayer) Delayed() int {
	_, delayed := d.draw.counts()
	return delayed
}

// Calls returns how many slow paths there were that Delays.Paths and Delays.Cache match.
func (d *Delayer) Calls() int {
	calls, _ := d.draw.counts()
	return calls
}
