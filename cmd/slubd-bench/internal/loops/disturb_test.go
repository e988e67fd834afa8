package loops

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestDisturbances: each disturbance happens in a run, however short, and the run before it without
// is in the sample.
func TestDisturbances(t *testing.T) {
	seen := 0
	for _, w := range workload.Catalog() {
		if w.Disturb == "" {
			continue
		}
		seen++
		spec := w.Spec(1, 64, 1).Small().WithOps(500)
		s, err := Open(workload.Slubd, spec)
		if err != nil {
			t.Fatal(err)
		}
		sample, err := s.Run(spec)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		if n, quiet := sample.Extra[workload.Disturbances], sample.Extra[workload.Undisturbed]; n < 1 || quiet <= 0 {
			t.Errorf("%s: %v disturbances, p99.9 of %v ns without them", w.Name, n, quiet)
		}
	}
	if seen < 4 {
		t.Errorf("only %d workloads are disturbed", seen)
	}
	s, err := Open(workload.Slubd, workload.Spec{Kind: workload.TailSteady, Threads: 1, Size: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.disturb(workload.Spec{Disturb: "by singing"}); err == nil {
		t.Error("an unknown disturbance is none")
	}
}
