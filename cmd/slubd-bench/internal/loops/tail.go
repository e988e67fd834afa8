package loops

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// newRecorder returns the recorder of one thread.
func newRecorder(s workload.Spec) *tail.Recorder {
	return tail.NewRecorder(tail.ClockOf(s), s.Gap)
}

// restarted is loop with a schedule that starts when the loop does. What loop has recorded is kept
// until it is called again.
func restarted(r *tail.Recorder, loop func(n int) error) func(n int) error {
	return func(n int) error {
		r.Restart()
		return loop(n)
	}
}

// latencies adds the times of all threads to sample.
func latencies(sample *workload.Sample, workers []worker, spec workload.Spec) (err error) {
	all := map[string]*hdrhistogram.Histogram{}
	for _, w := range workers {
		w.recorder.AddTo(all)
	}
	clock := tail.ClockOf(spec)
	return tail.Report(sample, all, clock, tail.Cost(clock))
}

// idle is tail-idle: no allocator, and calls of nothing.
type idle struct {
	noBackground
	spec workload.Spec
}

func (a idle) worker(int, *shared) (worker, error) {
	r := newRecorder(a.spec)
	return worker{recorder: r, loop: restarted(r, func(n int) error {
		for range n {
			r.Begin()
			r.End(tail.Free)
			r.Begin()
			r.End(tail.Alloc)
		}
		return nil
	})}, nil
}

const (
	// collectEvery is the time from one collection of a run to the next.
	collectEvery = 20 * time.Millisecond
	// collectLive is how many linked objects it has to mark beside the workload's own, which takes
	// some milliseconds.
	collectLive = 100_000
)

// collector sets Go's collector up for a run that times every call, until the function that it
// returns is called: it collects every collectEvery, or not at all. Other runs leave it alone.
func collector(spec workload.Spec) (restore func()) {
	switch {
	case !spec.Kind.ByTail():
		return func() {}
	case !spec.Collector:
		percent := debug.SetGCPercent(-1)
		return func() { debug.SetGCPercent(percent) }
	}
	var live *node
	for range collectLive {
		live = &node{next: live}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(collectEvery) // allocates nothing later
		defer tick.Stop()
		for {
			runtime.GC()
			select {
			case <-quit:
				runtime.KeepAlive(live)
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
