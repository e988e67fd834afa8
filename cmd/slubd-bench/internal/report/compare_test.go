package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// runs is a row of pair with seven runs around a median, all different.
func runs(alloc string, threads int, median float64) runner.Result {
	r := result(alloc, median)
	r.Threads, r.N, r.Values = threads, 7, nil
	for i := range 7 {
		r.Values = append(r.Values, median*(1+float64(i-3)/1000))
	}
	return r
}

func document(results ...runner.Result) Document {
	return New(Machine{CPU: "a", Go: "go1.26", CPUs: 2}, 1, time.Second, 7, runner.Report{Results: results})
}

// TestRegressionIsSignificantAndAboveThreshold changes medians by known factors.
func TestRegressionIsSignificantAndAboveThreshold(t *testing.T) {
	few := runs(workload.Slubd, 1, 12)
	few.Values = few.Values[:1]
	noisy := runs(workload.Slubd, 1, 11)
	noisy.Values = []float64{9, 13, 9.5, 13.5, 11, 9.7, 12}
	for _, c := range []struct {
		name             string
		now              runner.Result
		significant, bad bool
		change           float64
	}{
		{"slower", runs(workload.Slubd, 1, 11), true, true, 0.1},
		{"slower, a sheaf of its own", runs(workload.Local, 1, 11), true, true, 0.1},
		{"slower, but not slubd", runs(workload.Jemalloc, 1, 11), true, false, 0.1},
		{"slower, within the threshold", runs(workload.Slubd, 1, 10.5), true, false, 0.05},
		{"faster", runs(workload.Slubd, 1, 5), true, false, -0.5},
		{"the same", runs(workload.Slubd, 1, 10), false, false, 0},
		{"slower, but by too few runs", few, false, false, 0.1964},
		{"slower, but noisy", noisy, false, false, 0.1},
	} {
		got := document(c.now).Compare(document(runs(c.now.Alloc, 1, 10)), "old.json", 0.06)
		if len(got.Rows) != 1 {
			t.Fatalf("%s: %+v", c.name, got)
		}
		r := got.Rows[0]
		if r.Significant != c.significant || r.Regression != c.bad || len(got.Regressions()) == 1 != c.bad || r.Change < c.change-0.002 || r.Change > c.change+0.002 {
			t.Errorf("%s: %+v", c.name, r)
		}
		if slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "too few runs") }) != (c.now.Alloc == workload.Slubd && len(c.now.Values) == 1) {
			t.Errorf("%s: %q", c.name, got.Warnings)
		}
	}
}

func TestComparisonOfRows(t *testing.T) {
	zero := runs(workload.Go, 8, 0)
	old := document(runs(workload.Slubd, 1, 10), runs(workload.Slubd, 2, 10), runs(workload.Go, 1, 40), zero)
	now := document(runs(workload.Slubd, 1, 12), runs(workload.Go, 1, 50), runs(workload.Slubd, 4, 10), zero)
	now.Comparison = now.Compare(old, "old.json", 0.05)
	var b, alone, list bytes.Buffer
	for w, write := range map[*bytes.Buffer]func() error{
		&b:     func() error { return now.Text(&b) },
		&alone: func() error { return now.Comparison.Text(&alone) },
		&list:  func() error { return now.JSON(&list) },
	} {
		if err := write(); err != nil {
			t.Fatal(w, err)
		}
	}
	if !strings.HasSuffix(b.String(), alone.String()) {
		t.Error("the comparison isn't the end of the document")
	}
	for _, want := range []string{
		`\nns/op\n\nworkload  threads  size  alloc +old +new +change +p\n`,
		`\npair +1 +64  slubd  10\.0  ±0%  12\.0  ±0%  REGRESSION \+20\.0%  0\.001\n`,
		`\npair +1 +64 +go  40\.0  ±0%  50\.0  ±0% +\+25\.0%  0\.001\n`,
		`\nwarning: pair, 8 threads, size 64, go is left out`,
		`\nnot measured now: pair, 2 threads, size 64, slubd\n`, `\nnot in old\.json: pair, 4 threads, size 64, slubd\n`,
		`\nthe 1 row of others than slubd take 1\.25 times`,
		`\n1 regression of slubd by more than 5 %:\n  pair, 1 thread, size 64, slubd: 10\.0 -> 12\.0 ns/op, \+20\.0%, p = 0\.001\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(alone.String()) {
			t.Errorf("no %s in\n%s", want, alone.String())
		}
	}
	var fields struct {
		Comparison struct {
			Rows []map[string]any `json:"rows"`
		} `json:"comparison"`
	}
	if err := json.Unmarshal(list.Bytes(), &fields); err != nil || len(fields.Comparison.Rows) != 2 {
		t.Fatalf("%v: %s", err, list.String())
	}
	for _, name := range []string{"workload", "alloc", "threads", "size", "unit", "old", "new", "change", "p", "significant", "regression"} {
		if _, ok := fields.Comparison.Rows[0][name]; !ok {
			t.Errorf("a row lacks %q", name)
		}
	}
	same := now.Compare(now, "same.json", 0.05)
	alone.Reset()
	if err := same.Text(&alone); err != nil || !strings.HasSuffix(alone.String(), "\nno significant regression of slubd by more than 5 %\n") {
		t.Errorf("%v, with itself:\n%s", err, alone.String())
	}
}

// TestDifferencesAreWarnings changes what two runs should have in common, one by one.
func TestDifferencesAreWarnings(t *testing.T) {
	base := document(runs(workload.Slubd, 1, 10))
	base.Env.Flags, base.Versions = map[string]string{"size": "64", "seed": "1"}, map[string]string{"malloc": "glibc 1"}
	if list := base.Compare(base, "old", 0).Warnings; len(list) != 0 {
		t.Errorf("no difference: %q", list)
	}
	for want, change := range map[string]func(d *Document){
		"CPU: a then, b now":                                           func(d *Document) { d.Env.CPU = "b" },
		"architecture: / then, /arm64 now":                             func(d *Document) { d.Env.Arch = "arm64" },
		"CPUs: 2 then, 4 now":                                          func(d *Document) { d.Env.CPUs = 4 },
		"GOMAXPROCS: 0 then, 1 now":                                    func(d *Document) { d.Env.GOMAXPROCS = 1 },
		"NUMA nodes: 0 then, 2 now":                                    func(d *Document) { d.Env.Nodes = 2 },
		"kernel: none then, Linux now":                                 func(d *Document) { d.Env.Kernel = "Linux" },
		"Go: go1.26 then, go1.27 now":                                  func(d *Document) { d.Env.Go = "go1.27" },
		"GOAMD64: none then, v3 now":                                   func(d *Document) { d.Env.GOAMD64 = "v3" },
		"C compiler: none then, gcc now":                               func(d *Document) { d.Env.CCompiler = "gcc" },
		"engine: none then, rseq now":                                  func(d *Document) { d.Env.Engine = "rseq" },
		"cgo: false then, true now":                                    func(d *Document) { d.Env.Cgo = true },
		"race detector: false then, true now":                          func(d *Document) { d.Env.Race = true },
		"huge pages: none then, always now":                            func(d *Document) { d.Env.HugePages = "always" },
		"frequency governor: none then, powersave now":                 func(d *Document) { d.Env.Governor = "powersave" },
		"pinned to: none then, 1,0 now":                                func(d *Document) { d.Env.Pin = &Pin{CPUs: []int{1, 0}} },
		"-benchtime: 1s then, 2s now":                                  func(d *Document) { d.Env.BenchTime = "2s" },
		"-count: 7 then, 8 now":                                        func(d *Document) { d.Env.Count = 8 },
		"-seed: 1 then, 2 now":                                         func(d *Document) { d.Env.Seed = 2; d.Env.Flags = map[string]string{"size": "64", "seed": "2"} },
		"-size: 64 then, 128 now":                                      func(d *Document) { d.Env.Flags = map[string]string{"size": "128", "seed": "1"} },
		"$GOGC: none then, 400 now":                                    func(d *Document) { d.Env.Environ = map[string]string{"GOGC": "400"} },
		"malloc: glibc 1 then, glibc 2 now":                            func(d *Document) { d.Versions = map[string]string{"malloc": "glibc 2"} },
		"the machine was busy before the new run: load 1.50 on 2 CPUs": func(d *Document) { d.Env.Load = "1.50 1 1" },
	} {
		now := base
		change(&now)
		if list := now.Compare(base, "old", 0).Warnings; len(list) != 1 || list[0] != want {
			t.Errorf("%q, want %q", list, want)
		}
	}
}

func TestLoadRefusesWhatCannotBeCompared(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var good bytes.Buffer
	if err := document(runs(workload.Slubd, 1, 10)).JSON(&good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "text": "pair 1 64", "list": "[1]", "other": `{"a": 1}`, "cut": good.String()[:good.Len()/2],
		"before values": `{"results": [{"workload": "pair", "alloc": "slubd", "median": 3}]}`,
		"no time":       `{"results": [{"workload": "pair", "alloc": "slubd", "values": [0, 1]}]}`,
	} {
		if _, err := Load(write(name, text)); !errors.Is(err, ErrNotComparable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if d, err := Load(write("good", good.String())); err != nil || !slices.Equal(d.Results[0].Values, runs(workload.Slubd, 1, 10).Values) {
		t.Errorf("%+v, %v", d.Results, err)
	}
}
