package runner

import (
	"math"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Result is one entry of "results" in the JSON document. Field names are stable.
type Result struct {
	Workload string         `json:"workload"`
	Alloc    string         `json:"alloc"`
	Threads  int            `json:"threads"`
	Size     int            `json:"size"` // bytes; 0 where they are mixed
	Unit     string         `json:"unit"`
	Median   float64        `json:"median"`
	Min      float64        `json:"min"`
	Max      float64        `json:"max"`
	N        int            `json:"n"` // runs
	Extra    map[string]any `json:"extra"`
	// Values are those of the runs, in order, and Interval is where the median lies, by them; nil
	// if there are too few.
	Values   []float64      `json:"values"`
	Interval *stat.Interval `json:"interval,omitempty"`

	// Pauses are those of Go's collector in the timed part of all runs, where Go's loops run.
	Pauses []workload.Pause `json:"gc_pauses,omitempty"`

	Ops int `json:"-"` // alloc+free pairs of a run, of all threads
}

// Names of extras that are no numbers.
const (
	Classes = "classes" // of malloc-mix: a list of workload.ClassBytes
	Latency = "latency" // of a workload that times every call: tail.Latency by name, of all runs
)

// Report is what Run returns.
type Report struct {
	Results  []Result
	Failures []Failure
	Missing  []Missing
	Versions map[string]string // by native implementation: name and version of what was loaded
	Matrix   []Crossing        // of -numa
	Memory   *Memory           // nil unless Config.Memory asks for it
	Notes    []string          // sentences on what was not measured, and why
}

// Failure is a measurement that could not be made.
type Failure struct {
	Workload string `json:"workload"`
	Alloc    string `json:"alloc"`
	Threads  int    `json:"threads"`
	Size     int    `json:"size"`
	Error    string `json:"error"`
}

// Missing is an implementation that cannot run here, with the reason or the package to install.
type Missing struct {
	Alloc  string `json:"alloc"`
	Reason string `json:"reason"`
}

// summarize makes the Result of one implementation's samples.
func summarize(c Case, name string, spec workload.Spec, samples []workload.Sample) (Result, error) {
	r := Result{
		Workload: c.Workload.Name, Alloc: name, Threads: spec.Threads, Size: spec.Size,
		Unit: c.Workload.Unit, N: len(samples), Ops: spec.Pairs(), Extra: map[string]any{},
	}
	extras := map[string][]float64{}
	for _, s := range samples {
		r.Values = append(r.Values, round(s.Value))
		r.Pauses = workload.AddPauses(r.Pauses, s.Pauses)
		for extra, value := range s.Extra {
			extras[extra] = append(extras[extra], value)
		}
	}
	for extra, values := range extras {
		r.Extra[extra] = round(typical(extra, values))
	}
	if classes := samples[0].Classes; classes != nil {
		r.Extra[Classes] = classes // the same in every run
	}
	if samples[0].Latency != nil {
		runs := make([]map[string]string, len(samples))
		for i, s := range samples {
			runs[i] = s.Latency
		}
		latency, err := tail.Merge(runs)
		if err != nil {
			return r, err
		}
		r.Extra[Latency] = latency
	}
	r.Median, r.Interval = stat.Of(r.Values)
	r.Median = round(r.Median)
	r.Min, r.Max = slices.Min(r.Values), slices.Max(r.Values)
	return r, nil
}

// typical condenses an extra: the maximum of what must be zero per operation, the median of the
// rest.
func typical(name string, values []float64) float64 {
	if strings.HasSuffix(name, "_per_op") {
		return slices.Max(values)
	}
	median, _ := stat.Of(values)
	return median
}

// round keeps four decimals, more than any figure here is good for.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }
