package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// rowOf is a result of another workload and number of threads.
func rowOf(alloc, name string, threads int, median float64) runner.Result {
	r := result(alloc, median)
	r.Workload, r.Threads = name, threads
	return r
}

func TestSummaryNamesEachNative(t *testing.T) {
	s := summarize([]runner.Result{
		rowOf(workload.Slubd, "pair", 1, 8), rowOf(workload.Malloc, "pair", 1, 16), rowOf(workload.Jemalloc, "pair", 1, 2),
		rowOf(workload.Go, "pair", 1, 1),
		rowOf(workload.Slubd, "larson", 2, 3), rowOf(workload.Malloc, "larson", 2, 12), rowOf(workload.RPMalloc, "larson", 2, 24),
		rowOf(workload.Slubd, "churn", 1, 3), rowOf(workload.Pool, "churn", 1, 1),
		rowOf(workload.TCMalloc, "mix", 1, 5),
	})
	if s == nil || s.Rows != 2 || s.GeoMean != 1 { // of 4 and 1/4
		t.Fatalf("%+v", s)
	}
	want := []Versus{{workload.Malloc, 0.3536, 2}, {workload.Jemalloc, 4, 1}, {workload.RPMalloc, 0.125, 1}}
	if len(s.Natives) != len(want) {
		t.Fatalf("%+v", s.Natives)
	}
	for i, v := range s.Natives {
		if v != want[i] {
			t.Errorf("%+v, want %+v", v, want[i])
		}
	}
	var b bytes.Buffer
	s.write(&b)
	if text := "of each alone: 0.35 of malloc, 4.00 of jemalloc (1 row), 0.12 of rpmalloc (1 row)\n"; !strings.Contains(b.String(), text) {
		t.Errorf("no %q in %s", text, b.String())
	}
	if s := summarize([]runner.Result{rowOf(workload.Slubd, "pair", 1, 8), rowOf(workload.Go, "pair", 1, 1)}); s != nil {
		t.Errorf("without a native allocator: %+v", s)
	}
}

// TestSummaryHasItsRows counts the rows of a run of all workloads with one, two and four threads.
func TestSummaryHasItsRows(t *testing.T) {
	var results []runner.Result
	for _, c := range runner.Plan(runner.Choice{Run: regexp.MustCompile("."), Threads: []int{1, 2, 4}, Sizes: []int{64}, Live: 1}) {
		for _, name := range workload.Implementations() {
			if c.Workload.Has(name) {
				r := rowOf(name, c.Workload.Name, c.Spec.Threads, 6)
				r.Unit = c.Workload.Unit
				results = append(results, r)
			}
		}
	}
	s := summarize(results)
	if s == nil || s.Rows != 38 || s.GeoMean != 1 || len(s.Natives) != len(workload.Natives()) {
		t.Fatalf("%+v", s)
	}
	for _, r := range results {
		counted := r.Unit == workload.PerOp && r.Threads <= 2
		for _, out := range []string{"bulk", "prefill", "buckets", "account", "rcu", "reclaim", "large", "phase-change", "cxl", "tail-steady"} {
			counted = counted && r.Workload != out
		}
		if workload.KindOf(r.Workload).ByRCU() || workload.KindOf(r.Workload).OnNodes() {
			counted = false
		}
		if counts(r) != counted {
			t.Errorf("%s with %d threads counts: %v", r.Workload, r.Threads, !counted)
		}
	}
}
