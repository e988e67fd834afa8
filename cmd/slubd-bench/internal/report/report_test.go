package report

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// result is a pair result with two runs.
func result(alloc string, median float64) runner.Result {
	return runner.Result{
		Workload: "pair", Alloc: alloc, Threads: 1, Size: 64, Unit: workload.PerOp,
		Median: median, Min: median * 0.9, Max: median * 1.1, N: 2, Extra: map[string]any{},
		Values: []float64{median * 0.9, median * 1.1}, Ops: 1000,
	}
}

// several gives a result seven runs, and the interval of their median.
func several(r runner.Result) runner.Result {
	r.Values = nil
	for i := range 7 {
		r.Values = append(r.Values, r.Median*(0.9+float64(i)/30))
	}
	r.Median, r.Interval = stat.Of(r.Values)
	return r
}

// sample is a document with one of everything.
func sample() Document {
	mixed := result(workload.Go, 120)
	mixed.Workload, mixed.Size = "batch-100-fifo", 0
	gc := result(workload.Go, 90)
	gc.Workload, gc.Unit, gc.Extra = "gc", workload.PerCollection, map[string]any{"mark_cpu_ms": 88.0, "pause_ms": 0.05}
	resident := result(workload.Slubd, 1.02)
	resident.Workload, resident.Unit = "resident", workload.PerByte
	resident.Extra = map[string]any{"left_of_peak": 0.03, "left_after_purge": 0.01}
	mix := result(workload.Slubd, 15)
	mix.Workload, mix.Size = "malloc-mix", 0
	mix.Extra[runner.Classes] = []workload.ClassBytes{{Class: 8, Asked: 8, Given: 8}, {Class: 16, Asked: 24, Given: 32}}
	flood, period := result(workload.CK, 9), result(workload.URCU, 15_000)
	flood.Workload = "freercu-flood"
	period.Workload, period.Unit = "gp-latency", workload.PerPeriod
	period.Extra = map[string]any{workload.MeanPeriod: 17_000.0, workload.LongPeriod: 40_000.0}
	lookup := result(workload.SyncMap, 80)
	lookup.Workload = "rcu-map-50-50"
	return New(Machine{
		Engine: "rseq", CPU: "Test CPU", CPUs: 2, Nodes: 1, Kernel: "Linux 6", Go: "go1.26", GOAMD64: "v1", CCompiler: "gcc 12", OS: "linux", Arch: "amd64",
		GOMAXPROCS: 2, Load: "1.50 0.10 0.10",
	}, 1, 20*time.Millisecond, 2, runner.Report{
		Results:  []runner.Result{several(result(workload.Slubd, 6)), several(result(workload.Go, 30)), result(workload.TCMalloc, 5.4), mixed, gc, resident, mix, flood, period, lookup},
		Failures: []runner.Failure{{Workload: "bulk", Alloc: "go", Threads: 1, Size: 64, Error: "first line\nstack"}},
		Missing:  []runner.Missing{{Alloc: "mimalloc", Reason: "apt-get install libmimalloc2.0"}},
		Versions: map[string]string{workload.URCU: "liburcu 1 with x 2", workload.Malloc: "glibc 2.36", workload.Mimalloc: "mimalloc 2.0"},
	})
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		`engine rseq\nTest CPU, 2 CPUs, 1 NUMA node\nLinux 6, go1\.26 \(GOAMD64=v1\), C loops by gcc 12\nmalloc is glibc 2\.36, mimalloc 2\.0\nurcu is liburcu 1 with x 2\nmedians of 2 interleaved runs of 20ms each, seed 1; their intervals need 6 runs\n`,
		`workload +threads +size +slubd +go +tcmalloc\n`,
		`pair +1 +64 +6\.00 ±10% +30\.0 ±10% x5\.00 +5\.40 x0\.90\n`,
		`batch-100-fifo +1 +mixed +- +120 +-\n`,
		`gc +1 +64 +90\.0\n`,
		`resident +1 +64 +1\.02\n`,
		`after a grace period, and thread\n\nworkload +threads +size +ck\nfreercu-flood +1 +64 +9\.00\n`,
		`ns per grace period, the median of a run's\n\nworkload +threads +size +urcu\ngp-latency +1 +64 +15000\n`,
		`on a map and thread\n\nworkload +threads +size +syncmap\nrcu-map-50-50 +1 +64 +80\.0\n`,
		`gp-latency, urcu: 17000 ns in the mean, 40000 ns or less in 99 of 100\n`,
		`mimalloc: apt-get install libmimalloc2\.0\n`,
		`FAILED bulk, threads 1, size 64, go: first line\n`,
		`gc, go: marking takes 88\.0 ms of CPU time, the world stops for 0\.05 ms\n`,
		`resident, slubd: 3\.0 % of the peak stay after everything was freed, 1\.0 % after a purge\n`,
		`\ngeometric mean of 1 row: slubd takes 1\.11 times as long as the best native allocator of each;\nof each alone: 1\.11 of tcmalloc\n`,
		`bytes asked +slubd\n8 to 8 +1\.00\n9 to 16 +1\.33\n`,
		`all +1\.25\n`,
		`load 1\.50 on 2 CPUs`,
		`slubd: fewer than 0\.01 Go allocations and cgo calls per operation in each row\n`,
		`\(max-min\)/median: 20 %`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "stack") {
		t.Error("a crash's stack is in the table")
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestTextReportsAllocationsPerOp(t *testing.T) {
	d := sample()
	d.Results[0].Extra[workload.CgoCalls] = 1.0
	var b bytes.Buffer
	if err := d.Text(&b); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "slubd, pair: cgo_calls_per_op 1.0000") || strings.Contains(text, "fewer than") {
		t.Errorf("a cgo call per operation is not reported:\n%s", text)
	}
}

func TestGoBench(t *testing.T) {
	var b bytes.Buffer
	if err := sample().GoBench(&b); err != nil {
		t.Fatal(err)
	}
	format := regexp.MustCompile(`^(Benchmark[A-Z]\S*-2\t\d+\t[\d.]+ (ns/op|ns/gp|ms/collection|B/B)|[a-z-]+: .+)$`)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for _, line := range lines {
		if !format.MatchString(line) {
			t.Errorf("odd line %q", line)
		}
	}
	for _, want := range []string{
		"slubd-engine: rseq",
		"BenchmarkPair/threads=1/size=64/alloc=slubd-2\t1000\t5.4000 ns/op",
		"BenchmarkBatch100Fifo/threads=1/size=0/alloc=go-2\t1000\t108.0000 ns/op",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
}

// TestJSONFieldNames lists the field names, which must not change.
func TestJSONFieldNames(t *testing.T) {
	var b bytes.Buffer
	if err := sample().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	has := func(what string, object any, names ...string) {
		for _, name := range names {
			if _, ok := object.(map[string]any)[name]; !ok {
				t.Errorf("%s lacks %q", what, name)
			}
		}
	}
	first := func(list string) any { return d[list].([]any)[0] }
	has("document", d, "env", "results", "summary", "failures", "missing", "versions")
	has("env", d["env"], "engine", "cpus", "nodes", "kernel", "go", "os", "arch", "gomaxprocs", "cgo", "seed", "benchtime", "count")
	has("result", first("results"), "workload", "alloc", "threads", "size", "unit", "median", "min", "max", "n", "extra", "values")
	has("interval", first("results").(map[string]any)["interval"], "low", "high", "confidence")
	has("summary", d["summary"], "geomean_vs_best_native", "rows", "natives")
	has("native", d["summary"].(map[string]any)["natives"].([]any)[0], "alloc", "geomean", "rows")
	mix := d["results"].([]any)[6].(map[string]any)["extra"].(map[string]any)
	has("class", mix["classes"].([]any)[0], "class", "asked_bytes", "given_bytes")
	has("failure", first("failures"), "workload", "alloc", "threads", "size", "error")
	has("missing", first("missing"), "alloc", "reason")
	if n := len(first("results").(map[string]any)); n != 12 {
		t.Errorf("a result has %d fields", n)
	}
}

func TestEmptyDocumentHasResults(t *testing.T) {
	var b bytes.Buffer
	if err := New(Machine{}, 1, time.Second, 1, runner.Report{}).JSON(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"results": []`) {
		t.Errorf("no empty list in %s", b.String())
	}
}

func TestReportNamesPinning(t *testing.T) {
	many := make([]int, 40)
	for _, c := range []struct {
		pin  *Pin
		want string
	}{
		{pin: nil, want: ""},
		{pin: &Pin{How: "scatter", CPUs: []int{0, 4, 1}}, want: "the i-th of the CPUs 0,4,1 (scatter)\n"},
		{pin: &Pin{How: "4,0", CPUs: []int{4, 0}}, want: "the i-th of the CPUs 4,0\n"},
		{pin: &Pin{How: "compact", CPUs: many}, want: ",0 and 8 more (compact)\n"},
	} {
		d := sample()
		d.Env.Pin = c.pin
		var text, lines, document bytes.Buffer
		for b, write := range map[*bytes.Buffer]func(io.Writer) error{&text: d.Text, &lines: d.GoBench, &document: d.JSON} {
			if err := write(b); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(text.String(), c.want) || strings.Contains(text.String(), "is pinned") != (c.pin != nil) {
			t.Errorf("%+v in\n%s", c.pin, text.String())
		}
		if strings.Contains(lines.String(), "\npin: ") != (c.pin != nil) || strings.Contains(document.String(), `"pin": {`) != (c.pin != nil) {
			t.Errorf("%+v in\n%s\n%s", c.pin, lines.String(), document.String())
		}
	}
}
