//go:build !race && !invariants && !asan

// Builds with checks allocate for the arguments of their checks.

package loops

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestSlubdNeitherAllocatesNorCallsC checks the counters of slubd's loops. A Go allocation or a cgo
// call per operation would show as 1; the overhead of a run is constant, and small with enough
// operations.
func TestSlubdNeitherAllocatesNorCallsC(t *testing.T) {
	const ops = 100_000
	for _, w := range loopWorkloads(workload.Slubd) {
		if w.Kind.ByPeriod() {
			continue // it sleeps on a timer
		}
		spec := w.Spec(2, 64, 1).Small()
		if w.Kind == workload.Large {
			spec.Size = workload.LargeSizes()[0]
		}
		s, err := Open(workload.Slubd, spec)
		if err != nil {
			t.Fatal(err)
		}
		sample, err := s.Run(spec.WithOps(ops))
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{workload.GoAllocs, workload.CgoCalls} {
			tolerance := 0.01
			if w.Kind == workload.FreeRCUFlood {
				tolerance = 0.02 // with long grace periods, a new sheaf for every 60 objects
			}
			if w.Kind == workload.Reclaim && name == workload.GoAllocs {
				tolerance = 100 // a round follows failed attempts, which make errors
			}
			if w.Disturb != "" && name == workload.GoAllocs {
				continue // a scrape and a new cache make Go objects, and the loop is tail-steady's
			}
			if x, ok := sample.Extra[name]; !ok || x > tolerance {
				t.Errorf("%s: %s is %v", w.Name, name, x)
			}
		}
		if (w.Kind == workload.RCU || w.Kind == workload.FreeRCUFlood) && sample.Extra["grace_periods"] == 0 {
			t.Errorf("%s: no grace period passed: %v", w.Name, sample.Extra)
		}
		if rounds := sample.Extra[workload.Rounds]; w.Kind == workload.Reclaim && rounds < ops {
			t.Errorf("%s: %v rounds for 2 x %d allocations", w.Name, rounds, ops)
		}
	}
}
