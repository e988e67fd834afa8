package loops

import (
	"errors"
	"runtime/debug"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestTailTimesEveryCall checks that Go records each of its calls, with either clock. Go's heap has
// no Free.
func TestTailTimesEveryCall(t *testing.T) {
	for _, alloc := range []string{workload.Slubd, workload.Local, workload.Go, workload.Pool} {
		for _, w := range loopWorkloads(alloc) {
			if !w.Kind.ByTail() {
				continue
			}
			for _, system := range []bool{false, true} {
				spec := w.Spec(2, 64, 1).Small().WithOps(500)
				spec.SystemClock = system
				s, err := Open(alloc, spec)
				if err != nil {
					t.Fatal(err)
				}
				sample, err := s.Run(spec)
				if err := errors.Join(err, s.Close()); err != nil {
					t.Fatalf("%s, %s: %v", w.Name, alloc, err)
				}
				if tsc := sample.Extra[workload.TimerTSC] > 0; tsc && system {
					t.Errorf("%s, %s: the time-stamp counter is read", w.Name, alloc)
				}
				names := []string{tail.Own[tail.Alloc], tail.Response[tail.Alloc]}
				if alloc != workload.Go {
					names = append(names, tail.Own[tail.Free], tail.Response[tail.Free])
				}
				if len(sample.Latency) != len(names) {
					t.Errorf("%s, %s: %d histograms", w.Name, alloc, len(sample.Latency))
				}
				for _, name := range names {
					h, err := hdrhistogram.Decode([]byte(sample.Latency[name]))
					if err != nil || h.TotalCount() != int64(spec.Pairs()) {
						t.Errorf("%s, %s, %s: %v, want %d calls", w.Name, alloc, name, err, spec.Pairs())
					}
				}
			}
		}
	}
}

// TestCollectorRunsOrNot looks at the collector's settings beside a run, and after it.
func TestCollectorRunsOrNot(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(-1)
		debug.SetGCPercent(p)
		return p
	}
	collections := func() int64 {
		var stats debug.GCStats
		debug.ReadGCStats(&stats)
		return stats.NumGC
	}
	for _, c := range []struct {
		spec   workload.Spec
		during int
	}{
		{workload.Spec{Kind: workload.Pair}, 77},
		{workload.Spec{Kind: workload.TailSteady}, -1},
		{workload.Spec{Kind: workload.TailSteady, Collector: true}, 77},
	} {
		n := collections()
		restore := collector(c.spec)
		if p := percent(); p != c.during {
			t.Errorf("%+v: the collector runs at %d %%", c.spec, p)
		}
		for last := n; c.spec.Collector && last < n+2; last = collections() {
			// It collects again and again.
		}
		restore()
		if p := percent(); p != 77 {
			t.Errorf("%+v: afterwards it runs at %d %%", c.spec, p)
		}
	}
}
