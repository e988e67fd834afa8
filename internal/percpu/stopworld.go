package percpu

import (
	"errors"
	"runtime"
	"runtime/metrics"
	"sync"
)

// errWorldRuns says that in this version of Go stopWorld doesn't stop the world.
var errWorldRuns = errors.New("and Go doesn't stop the world for a list of stacks")

// stopTheWorldFence takes the place of membarrier when the kernel refuses it: a filter of system
// calls may have come after the self-test (seccomp(2)), or memory may be short. It stops all
// goroutines for a moment, as Go's collector does whenever it begins. That takes some 20 us and
// delays every goroutine, but needs nothing of the kernel:
//
//   - A goroutine stops at a safe point, and assembly has none. So when all have stopped, a
//     sequence that began before has committed, or has taken its slow path. A goroutine that is in
//     a system call, or runs C, is in no sequence.
//   - The caller then sees everything that each goroutine has stored before the stop, and each
//     goroutine afterwards sees everything that the caller has stored before it, even in plain
//     words. The collector depends on that: it looks at all of memory, and turns its write barrier
//     on, in such a stop.
//
// The error is nil if all goroutines have been stopped. refused is membarrier's error.
func stopTheWorldFence(refused error) error {
	if !worldStops() {
		return errors.Join(refused, errWorldRuns)
	}
	stopWorld()
	return nil
}

// stopWorld stops all goroutines, and starts them again. Go has no call for that alone, but a list
// of all stacks needs it, even if there is no room for any stack.
func stopWorld() { runtime.Stack(nil, true) }

// worldStops reports whether stopWorld does stop the world, by Go's own metrics. It tries once.
var worldStops = sync.OnceValue(func() bool {
	const stops = 4
	before := pauses()
	for range stops {
		stopWorld()
	}
	return pauses() >= before+stops
})

// pauses returns how often the world has been stopped for other reasons than garbage collection.
func pauses() (n uint64) {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/other:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	for _, count := range sample[0].Value.Float64Histogram().Counts {
		n += count
	}
	return n
}
