// Package tail times every call of an allocator, where the other workloads time a whole loop. It
// has the timer, the schedule of calls and the histograms. The C twin is ../native/tail.c, which
// fills histograms of the same buckets.
//
// A call has an intended start: the schedule wants one at equal intervals, whatever the calls
// before it took. A Recorder waits until then, and keeps two times of each call: from its actual
// start, which is the allocator's own time, and from its intended start, which is what a caller
// sees that doesn't stop asking while the allocator is busy. A loop that starts a call only after
// the one before it sees a stall of a millisecond once; with a schedule of a call every 500 ns,
// 2000 calls see it. To count it once is called coordinated omission.
//
// Times contain the cost of the timer itself: Recorder.Cost measures it, and nothing subtracts it.
//
// A Recorder belongs to one goroutine.
package tail
