package report

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestBenchfmtReadsGoBench parses every line with the package that benchstat uses.
func TestBenchfmtReadsGoBench(t *testing.T) {
	d := sample()
	tail := result(workload.Slubd, 40)
	tail.Workload, tail.Unit = "tail-steady", workload.PerCall
	d.Results = append(d.Results, tail)
	d.Matrix = []runner.Crossing{{By: runner.ByNode, Method: "Free", Size: 64, AllocNs: 4.5, FreeNs: 6, N: 3, Objects: 10}}
	var b bytes.Buffer
	if err := d.GoBench(&b); err != nil {
		t.Fatal(err)
	}
	values := map[string][]float64{} // by name and unit
	r := benchfmt.NewReader(&b, "gobench")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			for key, want := range map[string]string{"goos": "linux", "goarch": "amd64", "cpu": "Test CPU", "go-version": "go1.26", "slubd-engine": "rseq", "numa-nodes": "1", "seed": "1"} {
				if got := rec.GetConfig(key); got != want {
					t.Errorf("%s: %s is %q, not %q", rec.Name, key, got, want)
				}
			}
			for _, v := range rec.Values {
				if v.OrigUnit != "" {
					v.Value, v.Unit = v.OrigValue, v.OrigUnit
				}
				key := rec.Name.String() + " " + v.Unit
				values[key] = append(values[key], v.Value)
			}
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	for _, want := range d.Results {
		var written []float64 // with four decimals
		for _, v := range want.Values {
			written = append(written, math.Round(v*1e4)/1e4)
		}
		if got := values[strings.TrimPrefix(benchName(want, d.Env.GOMAXPROCS), "Benchmark")+" "+want.Unit]; !slices.Equal(got, written) {
			t.Errorf("%s of %s: read %v, wrote %v", want.Workload, want.Alloc, got, written)
		}
	}
	if n := len(values); n != len(d.Results)+3 {
		t.Errorf("%d series were read: %v", n, values)
	}
	// benchstat shows seconds where a unit says ns.
	if v, unit := benchunit.Tidy(1, workload.PerCall); unit != "p99.9-sec" || v != 1e-9 {
		t.Errorf("1 %s is %v %s", workload.PerCall, v, unit)
	}
}
