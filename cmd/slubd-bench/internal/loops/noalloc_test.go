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
	const ops, tolerance = 100_000, 0.01
	for _, w := range loopWorkloads(workload.Slubd) {
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
			if x, ok := sample.Extra[name]; !ok || x > tolerance {
				t.Errorf("%s: %s is %v", w.Name, name, x)
			}
		}
		if w.Kind == workload.RCU && sample.Extra["grace_periods"] == 0 {
			t.Errorf("rcu: no grace period passed: %v", sample.Extra)
		}
	}
}
