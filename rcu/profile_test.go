package rcu

import (
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
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

// TestStacksAreFormattedOnce: what a report costs does not grow with the goroutines that have the
// same stack.
func TestStacksAreFormattedOnce(t *testing.T) {
	var pcs [32]uintptr
	runtime.Callers(1, pcs[:])
	cost := func(n int) float64 {
		p := make(profile, n)
		for i := range p {
			p[i].Stack0 = pcs
		}
		return testing.AllocsPerRun(10, func() {
			if !strings.HasPrefix(p.stackIn(pcs[0]), "one of ") {
				t.Fatal("no heading")
			}
		})
	}
	if few, many := cost(10), cost(10_000); many > 2*few {
		t.Errorf("%v allocations for many goroutines, %v for few", many, few)
	}
}

// TestStackHeadings: that several goroutines may be the reader's is said, and whatever their number
// that goroutines may be in a section.
func TestStackHeadings(t *testing.T) {
	var pcs [32]uintptr
	runtime.Callers(1, pcs[:])
	stack := stackText(pcs[:slices.Index(pcs[:], 0)])
	for n, want := range []struct{ reader, sections string }{
		{},
		{stack, "1 goroutine is in a function of these lines, and may be in such a section:\n" + stack},
		{
			"one of 2 goroutines in that function:\n" + stack,
			"2 goroutines are in the functions of these lines, and may be in such a section; up to 3 stacks:\n" + stack,
		},
	} {
		p := make(profile, n)
		for i := range p {
			p[i].Stack0 = pcs
		}
		if got := p.stackIn(pcs[0]); got != want.reader {
			t.Errorf("%d goroutines of a reader: %q", n, got)
		}
		if _, got := p.atPlaces(pcs[:1]); got != want.sections {
			t.Errorf("%d goroutines of sections: %q", n, got)
		}
	}
}
