package loops

import (
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestPausesBetween(t *testing.T) {
	bounds := []float64{math.Inf(-1), 0, 1e-6, 2e-6, math.Inf(1)}
	before := &metrics.Float64Histogram{Buckets: bounds, Counts: []uint64{0, 1, 5, 0}}
	after := &metrics.Float64Histogram{Buckets: bounds, Counts: []uint64{0, 3, 5, 1}}
	want := []workload.Pause{{Ns: 1000, Count: 2}, {Ns: 2000, Count: 1}}
	if got := pausesBetween(before, after); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := pausesBetween(&metrics.Float64Histogram{}, after); len(got) != 3 {
		t.Errorf("from the beginning: %v", got)
	}
}

// A collection that is forced shows up, in the sample of a collection too.
func TestCollectionsPause(t *testing.T) {
	before := readPauses()
	runtime.GC()
	if len(pausesBetween(before, readPauses())) == 0 {
		t.Error("no pause in a collection")
	}
	p, err := Build(workload.Go, workload.GC, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Collect(); len(s.Pauses) == 0 {
		t.Errorf("%+v", s)
	}
}
