package rcu

import (
	"runtime/metrics"
	"sync"
	"testing"
)

// TestProfileStopsTwice: finding the stacks of readers stops all goroutines twice, however many
// there are. If the runtime learns to do it with one stop, doc and test can say so.
func TestProfileStopsTwice(t *testing.T) {
	var done sync.WaitGroup
	release := make(chan bool)
	for range 1000 {
		done.Go(func() { <-release })
	}
	var s stalls
	before := stops()
	p := s.goroutines()
	if n := stops() - before; n > 2 {
		t.Errorf("%d stops for a profile of %d goroutines", n, len(p))
	}
	if len(p) < 1000 {
		t.Errorf("a profile of %d goroutines", len(p))
	}
	close(release)
	done.Wait()
}

// stops returns how often all goroutines were stopped for other reasons than garbage collection.
func stops() (n uint64) {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/other:seconds"}}
	metrics.Read(sample)
	for _, count := range sample[0].Value.Float64Histogram().Counts {
		n += count
	}
	return n
}
