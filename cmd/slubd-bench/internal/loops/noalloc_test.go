//go:build !race && !invariants && !asan

// Checked builds box the arguments of their checks.

package loops

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A loop that allocates per operation shows as 1, one that calls into C as 1;
// a run's own overhead is a constant, which enough operations make small.
func TestSlubdStaysOffTheHeapAndOutOfC(t *testing.T) {
	const ops = 100_000
	for _, w := range loopWorkloads(workload.Slubd) {
		if w.Kind.ByPeriod() {
			continue // it sleeps on a timer
		}
		spec := w.Spec(2, 64, 1)
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
				tolerance = 0.02 // where a grace period lasts, a new sheaf for every 60 objects
			}
			if x, ok := sample.Extra[name]; !ok || x > tolerance {
				t.Errorf("%s: %s is %v", w.Name, name, x)
			}
		}
		if (w.Kind == workload.RCU || w.Kind == workload.FreeRCUFlood) && sample.Extra["grace_periods"] == 0 {
			t.Errorf("%s: no grace period passed: %v", w.Name, sample.Extra)
		}
	}
}
