package runner

import (
	"math"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Result is one entry of the JSON document's "results". Field names are
// stable.
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

	Values []float64 `json:"-"` // of the runs in their order
	Ops    int       `json:"-"` // alloc+free pairs of a run, all threads
}

// Classes is the name of malloc-mix's extra: a list of workload.ClassBytes.
const Classes = "classes"

// Report is what Run found.
type Report struct {
	Results  []Result
	Failures []Failure
	Missing  []Missing
	Versions map[string]string // by native allocator or rival: what was loaded for it
}

// Failure is a measurement that could not be made.
type Failure struct {
	Workload string `json:"workload"`
	Alloc    string `json:"alloc"`
	Threads  int    `json:"threads"`
	Size     int    `json:"size"`
	Error    string `json:"error"`
}

// Missing is an allocator that cannot run here, with the reason or the
// package to install.
type Missing struct {
	Alloc  string `json:"alloc"`
	Reason string `json:"reason"`
}

// summarize makes the Result of one allocator's samples.
func summarize(c Case, alloc string, spec workload.Spec, samples []workload.Sample) Result {
	r := Result{
		Workload: c.Workload.Name, Alloc: alloc, Threads: spec.Threads, Size: spec.Size,
		Unit: c.Workload.Unit, N: len(samples), Ops: spec.Pairs(), Extra: map[string]any{},
	}
	extras := map[string][]float64{}
	for _, s := range samples {
		r.Values = append(r.Values, s.Value)
		for name, value := range s.Extra {
			extras[name] = append(extras[name], value)
		}
	}
	for name, values := range extras {
		r.Extra[name] = round(typical(name, values))
	}
	if classes := samples[0].Classes; classes != nil {
		r.Extra[Classes] = classes // the same in every run
	}
	r.Median = round(median(r.Values))
	r.Min, r.Max = round(slices.Min(r.Values)), round(slices.Max(r.Values))
	return r
}

// typical condenses an extra: what must be zero per operation is reported at
// its worst, everything else by its median.
func typical(name string, values []float64) float64 {
	if strings.HasSuffix(name, "_per_op") {
		return slices.Max(values)
	}
	return median(values)
}

// median returns the middle of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// round keeps four decimals, more than any figure here is good for.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }
