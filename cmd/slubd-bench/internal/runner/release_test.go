package runner

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/testutil"
)

// The heap of a Go release is measured in a child that this release has built, whatever the kind of
// workload; here it is the release of the test. A release that does not exist ends the suite before
// anything is measured.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program with the go command")
	}
	testutil.Need(t, "go", "golang-go")
	here := runtime.Version()
	if strings.ContainsAny(here, " -") {
		t.Skipf("%s is no release that the go command can be asked for", here)
	}
	var cases []Case
	for _, w := range workload.Catalog() {
		if slices.Contains([]string{"pair", "mix", "tail-steady", "gc", "resident", "prefill"}, w.Name) {
			spec := w.Spec(1, 64, 1).Small()
			spec.Live = min(spec.Live, 1000)
			cases = append(cases, Case{Workload: w, Spec: spec})
		}
	}
	report, err := Run(t.Context(), cases, Config{Names: []string{here}, Named: true, BenchTime: 1, Count: 1})
	if err != nil || len(report.Failures) > 0 {
		t.Fatal(err, report.Failures)
	}
	var measured []string
	for _, r := range report.Results {
		if r.Alloc != here || r.Median <= 0 {
			t.Errorf("%+v", r)
		}
		measured = append(measured, r.Workload)
	}
	if want := 6; len(measured) != want {
		t.Errorf("%v were measured, want %d workloads", measured, want)
	}

	report, err = Run(t.Context(), cases, Config{Names: []string{workload.Go, "go1.0.1"}, BenchTime: 1, Count: 1})
	if !errors.Is(err, ErrRelease) || !strings.Contains(err.Error(), "go1.0.1") || len(report.Results) > 0 {
		t.Errorf("of a release that does not exist there are %d results and the error %v", len(report.Results), err)
	}
}
