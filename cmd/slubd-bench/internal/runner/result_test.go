package runner

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestSummarize(t *testing.T) {
	w := workload.Catalog()[0]
	spec := w.Spec(2, 64, 1).WithOps(100)
	samples := []workload.Sample{
		{Value: 9, Extra: map[string]float64{workload.GoAllocs: 0, "grace_periods": 10}},
		{Value: 5.00004, Extra: map[string]float64{workload.GoAllocs: 1, "grace_periods": 30}},
		{Value: 7, Extra: map[string]float64{workload.GoAllocs: 0, "grace_periods": 20}},
	}
	r, err := summarize(Case{Workload: w, Spec: spec}, workload.Go, spec, samples)
	if err != nil || r.Median != 7 || r.Min != 5 || r.Max != 9 || r.N != 3 || r.Ops != 200 {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(r.Values, []float64{9, 5, 7}) || r.Interval != nil {
		t.Errorf("values %v, interval %v", r.Values, r.Interval)
	}
	r, err = summarize(Case{Workload: w, Spec: spec}, workload.Go, spec, append(samples, samples...))
	if err != nil || r.Median != 7 || r.Interval == nil || r.Interval.Low != 5 || r.Interval.High != 9 {
		t.Errorf("six runs: %+v, %v", r, err)
	}
	if r.Extra[workload.GoAllocs] != 1.0 {
		t.Errorf("one run of three allocated, reported %v per operation", r.Extra[workload.GoAllocs])
	}
	if r.Extra["grace_periods"] != 20.0 {
		t.Errorf("extras %v", r.Extra)
	}
}

func TestSummarizeKeepsClasses(t *testing.T) {
	w := workload.Catalog()[0]
	classes := []workload.ClassBytes{{Class: 8, Asked: 7, Given: 8}}
	samples := []workload.Sample{{Value: 1, Classes: classes}, {Value: 2, Classes: classes}}
	spec := w.Spec(1, 64, 1)
	r, err := summarize(Case{Workload: w, Spec: spec}, workload.Go, spec, samples)
	if got, ok := r.Extra[Classes].([]workload.ClassBytes); err != nil || !ok || len(got) != 1 || got[0] != classes[0] {
		t.Errorf("extras %v", r.Extra)
	}
}
