package percpu

import (
	"errors"
	"runtime"
	"runtime/metrics"
	"sync"
)

// errWorldRuns says that this Go doesn't stop where stopWorld thinks that it does.
var errWorldRuns = errors.New("and Go doesn't stop the world for a list of stacks")

// instead does what membarrier was to do when the kernel has refused it: a filter of
// system calls may have come after the self-test (seccomp(2)), or memory be short. Go's
// collector stops all goroutines for a moment whenever it begins, and so can we. It
// takes some 20 us and disturbs everybody, but needs nothing of the kernel:
//
//   - A goroutine stops at a safe point, of which assembly has none: a sequence that
//     began before has committed, or been refused, when all have stopped. One that is in a
//     system call or runs C is in no sequence.
//   - What each has stored before can be seen by the caller then, and what the caller has
//     stored before by each afterwards, be it in plain words. The collector lives by that,
//     which looks at all of memory, and turns its write barrier on, in such a stop.
//
// The error is nil if it has done so. refused is membarrier's.
func instead(refused error) error {
	if !worldStops() {
		return errors.Join(refused, errWorldRuns)
	}
	stopWorld()
	return nil
}

// stopWorld stops all goroutines, and starts them again. There is no call for just that; a
// list of all stacks has to, even if there is no room for any.
func stopWorld() { runtime.Stack(nil, true) }

// worldStops looks once whether stopWorld does, by Go's own account.
var worldStops = sync.OnceValue(func() bool {
	const stops = 4
	before := pauses()
	for range stops {
		stopWorld()
	}
	return pauses() >= before+stops
})

// pauses is how often the world has been stopped, but for the collector.
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
