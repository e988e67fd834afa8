package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/testutil"
)

func TestMain(m *testing.M) {
	testutil.WithoutSamples()
	runner.ServeChild()
	os.Exit(m.Run())
}

// bench runs the command.
func bench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// quick are the flags of a very short suite.
var quick = []string{"-benchtime", "500us", "-count", "2", "-live", "10000", "-threads", "1", "-run", "^(pair|gc)$"}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{args: []string{"-nonsense"}, want: []string{"-nonsense"}},
		{args: []string{"pair"}, want: []string{`"pair"`}},
		{args: []string{"-run", "("}, want: []string{"-run", "missing closing"}},
		{args: []string{"-run", "nowhere"}, want: []string{"nowhere matches no workload", "-list"}},
		{args: []string{"-alloc", "slubd,hoard"}, want: []string{"-alloc", "hoard", "jemalloc"}},
		{args: []string{"-threads", "0"}, want: []string{"-threads", "1 to 1024"}},
		{args: []string{"-threads", "1,every"}, want: []string{"-threads", "1 to 1024"}},
		{args: []string{"-pin", "around"}, want: []string{"-pin", "none, compact, scatter"}},
		{args: []string{"-pin", "65000"}, want: []string{"-pin", "CPU 65000"}},
		{args: []string{"-go", "go1.27.4,1.26"}, want: []string{`-go: "1.26" is no Go release`}},
		{args: []string{"-numa", "-go", "go1.27.4"}, want: []string{"-numa", "-go cannot be used"}},
		{args: []string{"-native", "/no/such/directory"}, want: []string{"-native: /no/such/directory is no directory"}},
		{args: []string{"-numa", "-run", "pair"}, want: []string{"-numa", "-run"}},
		{args: []string{"-numa", "-pin", "compact"}, want: []string{"-numa", "-pin"}},
		{args: []string{"-numa", "-scaling"}, want: []string{"-numa", "-scaling"}},
		{args: []string{"-scaling", "-run", "^gc$"}, want: []string{"matches no workload"}},
		{args: []string{"-size", "64,x"}, want: []string{"-size", `"x"`}},
		{args: []string{"-size", "4"}, want: []string{"8 to 8192"}},
		{args: []string{"-benchtime", "0s"}, want: []string{"-benchtime"}},
		{args: []string{"-benchtime", "fast"}, want: []string{"-benchtime", "fast"}},
		{args: []string{"-count", "0"}, want: []string{"-count"}},
		{args: []string{"-live", "0"}, want: []string{"-live"}},
		{args: []string{"-format", "xml"}, want: []string{"-format", "xml", "gobench"}},
		{args: []string{"-json", "-format", "gobench"}, want: []string{"cannot be used together"}},
		{args: []string{"-compare", "/no/such/file"}, want: []string{"-compare", "/no/such/file"}},
		{args: []string{"-compare", "main.go"}, want: []string{"-compare: main.go is no JSON document of slubd-bench"}},
		{args: []string{"-compare", "main.go", "-numa"}, want: []string{"-compare cannot be used with -numa"}},
		{args: []string{"-compare", "main.go", "-format", "gobench"}, want: []string{"-format gobench"}},
		{args: []string{"-compare", "a", "b", "c"}, want: []string{`"c"`}},
		{args: []string{"-trace", "/no/such/file"}, want: []string{"-trace", "/no/such/file"}},
		{args: []string{"-trace", "main.go"}, want: []string{"-trace", "main.go", "no trace of this format"}},
		{args: []string{"-trace", "main.go", "-numa"}, want: []string{"-numa", "-trace"}},
		{args: []string{"-html", "a.html", "-numa"}, want: []string{"-html"}},
		{args: []string{"-threshold", "-1"}, want: []string{"-threshold: -1 is no percentage"}},
		{args: []string{"-threshold", "NaN"}, want: []string{"-threshold: NaN"}},
		{args: []string{"-count", "0", "-alloc", "", "-size", "1"}, want: []string{"-count", "-alloc", "-size"}},
	} {
		code, stdout, stderr := bench(t, c.args...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%v: exit %d, output %q", c.args, code, stdout)
		}
		for _, want := range append(c.want, "slubd-bench -h") {
			if !strings.Contains(stderr, want) {
				t.Errorf("%v: no %q in %q", c.args, want, stderr)
			}
		}
	}
}

func TestHelpNamesAllFlags(t *testing.T) {
	code, stdout, _ := bench(t, "-h")
	for _, name := range strings.Fields("run alloc threads pin size benchtime count seed list env numa scaling json format compare threshold html trace native listen") {
		if code != exitOK || !regexp.MustCompile(`(?m)^  -`+name+`\b`).MatchString(stdout) {
			t.Errorf("exit %d, -%s is not explained", code, name)
		}
	}
}

func TestListIsComplete(t *testing.T) {
	code, stdout, _ := bench(t, "-list")
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
	for _, w := range workload.Catalog() {
		if !regexp.MustCompile(`(?m)^  ` + w.Name + ` `).MatchString(stdout) {
			t.Errorf("%s is not listed", w.Name)
		}
	}
	if !strings.Contains(stdout, "\nand with -trace FILE ") {
		t.Error("traces are not listed")
	}
	for _, alloc := range workload.Implementations() {
		if !regexp.MustCompile(`(?m)^  ` + alloc + ` `).MatchString(stdout) {
			t.Errorf("%s is not listed", alloc)
		}
	}
}

func TestListAsJSON(t *testing.T) {
	code, stdout, stderr := bench(t, "-list", "-json")
	var c catalog
	if err := json.Unmarshal([]byte(stdout), &c); code != exitOK || stderr != "" || err != nil {
		t.Fatalf("exit %d, %s, %v", code, stderr, err)
	}
	if len(c.Workloads) != len(workload.Catalog()) || len(c.Implementations) != len(workload.Implementations()) {
		t.Errorf("%d workloads and %d implementations", len(c.Workloads), len(c.Implementations))
	}
	for _, w := range c.Workloads {
		if w.Name == "" || w.Unit == "" || w.About == "" || len(w.Implementations) == 0 || w.Implementations[0] != workload.Slubd {
			t.Errorf("%+v", w)
		}
	}
}

func TestListNamesMissingPackages(t *testing.T) {
	var b bytes.Buffer
	if err := (options{}).list(&b, native.Libraries(""), []string{t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	want := "apt-get install libjemalloc2"
	if !native.Available {
		want = native.ErrUnavailable.Error()
	}
	if !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

func TestJSONIsOneDocument(t *testing.T) {
	code, stdout, stderr := bench(t, append(quick, "-json")...)
	if code != exitOK || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
	var d report.Document
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatal(err)
	}
	if d.Env.Engine == "" || d.Env.Seed != 1 || d.Env.Count != 2 || d.Env.BenchTime != "500µs" {
		t.Errorf("env %+v", d.Env)
	}
	got := map[string]runner.Result{}
	for _, r := range d.Results {
		got[r.Workload+" "+r.Alloc] = r
	}
	want := map[string]string{
		"pair slubd": workload.PerOp, "pair go": workload.PerOp, "pair pool": workload.PerOp,
		"gc slubd": workload.PerCollection, "gc go": workload.PerCollection,
	}
	if native.Available {
		want["pair malloc"] = workload.PerOp
	}
	for name, unit := range want {
		if r := got[name]; r.Unit != unit || r.Median <= 0 || r.N != 2 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTextAndGoBench(t *testing.T) {
	for format, want := range map[string]string{"text": "\npair ", "gobench": "\nBenchmarkPair/threads=1/size=64/alloc=go"} {
		code, stdout, _ := bench(t, append(quick, "-format", format)...)
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d, no %q in\n%s", format, code, want, stdout)
		}
	}
}

func TestScaling(t *testing.T) {
	code, stdout, _ := bench(t, "-scaling", "-run", "^pair$", "-threads", "1,2", "-benchtime", "500us", "-count", "1")
	for _, want := range []string{"\npair, 64 bytes\n\nthreads ", "\n1 ", "\n2 ", "barn_get_fail"} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, stdout)
		}
	}
}

func TestScalingDoublesThreads(t *testing.T) {
	for _, c := range []struct {
		args []string
		cpus int
		want string
	}{
		{cpus: 1, want: "all"}, {cpus: 2, want: "1,all"}, {cpus: 8, want: "1,2,4,all"}, {cpus: 12, want: "1,2,4,8,all"},
		{args: []string{"-threads", "3"}, cpus: 12, want: "3"},
	} {
		var o options
		var r raw
		fs := flags(&o, &r)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		r.forScaling(fs, c.cpus)
		if r.threads != c.want || r.run != scalingSuite {
			t.Errorf("%d CPUs: -threads %s -run %s", c.cpus, r.threads, r.run)
		}
	}
}

func TestEnvMeasuresNothing(t *testing.T) {
	for _, word := range []string{"env", "-env"} {
		code, stdout, _ := bench(t, word, "-json")
		for _, want := range []string{`"results": []`, `"engine": "`, `"findings": [`} {
			if code != exitOK || !strings.Contains(stdout, want) {
				t.Errorf("%s -json: exit %d, no %s in %s", word, code, want, stdout)
			}
		}
		code, stdout, _ = bench(t, word)
		for _, want := range []string{"engine ", "sysfs and cpuid", "\nnode ", "may spoil"} {
			if code != exitOK || !strings.Contains(stdout, want) {
				t.Errorf("%s: exit %d, no %q in %s", word, code, want, stdout)
			}
		}
	}
}

// TestNativeNamesWhatIsMissing has an empty directory. Nothing is measured without what was asked
// for.
func TestNativeNamesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := bench(t, append(quick, "-native", dir, "-alloc", "slubd,jemalloc,snmalloc")...)
	for name, want := range map[string]string{"jemalloc": dir + " has no libjemalloc.so*", "snmalloc": dir + " has no libsnmallocshim.so*"} {
		if !native.Available {
			want = native.ErrUnavailable.Error()
		}
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, "native library of "+name+": "+want) {
			t.Errorf("%s: exit %d, %s, %s", name, code, stdout, stderr)
		}
	}
	code, stdout, _ = bench(t, "-list", "-native", dir)
	if want := dir + " has no libmimalloc.so*"; code != exitOK || native.Available && !strings.Contains(stdout, want) {
		t.Errorf("-list: exit %d, no %q in %s", code, want, stdout)
	}
}

// TestOptionalLibrariesAreLeftOut has a directory without any library.
func TestOptionalLibrariesAreLeftOut(t *testing.T) {
	cfg := runner.Config{Names: workload.Implementations(), Libraries: native.Libraries(t.TempDir())}
	names := withoutOptional(cfg)
	for _, name := range workload.Implementations() {
		optional := name == workload.SNMalloc || name == workload.RPMalloc
		if slices.Contains(names, name) == optional {
			t.Errorf("%s is measured: %v", name, optional)
		}
	}
}

// TestWhatNoAllocatorHasIsRefused names each workload, and which implementations have it, before
// anything runs.
func TestWhatNoAllocatorHasIsRefused(t *testing.T) {
	code, stdout, stderr := bench(t, append(quick, "-alloc", "pool", "-run", "^(rcu-read|rcu-map-50-50)$")...)
	want := "-alloc pool: rcu-read: only slubd, urcu can run it\nrcu-map-50-50: only slubd, syncmap, sharded can run it\n"
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
		t.Errorf("exit %d, %q, no %q in %q", code, stdout, want, stderr)
	}
	code, stdout, _ = bench(t, append(quick, "-alloc", "pool", "-run", "^(pair|rcu-read)$")...)
	if want := "rcu-read is not measured: only slubd, urcu can run it\n"; code != exitOK || !strings.Contains(stdout, want) {
		t.Errorf("exit %d, no %q in\n%s", code, want, stdout)
	}
}

func TestNothingMeasuredIsAFailure(t *testing.T) {
	var failed runner.Report
	failed.Failures = []runner.Failure{{Workload: "pair", Alloc: workload.Slubd}}
	measured := runner.Report{Results: []runner.Result{{Workload: "pair"}}}
	for _, c := range []struct {
		report runner.Report
		want   error
	}{{measured, nil}, {failed, errIncomplete}, {runner.Report{}, errIncomplete}} {
		if err := complete(c.report); err != c.want {
			t.Errorf("%+v: %v", c.report, err)
		}
	}
}

func TestInterruptedSuitePrints(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := run(ctx, append(quick, "-json"), &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), errInterrupted.Error()) || !json.Valid(out.Bytes()) {
		t.Errorf("exit %d, %s, %s", code, errs.String(), out.String())
	}
}

func TestListenServesMetricsWhileRunning(t *testing.T) {
	var errs bytes.Buffer
	stop, err := serveMetrics("127.0.0.1:0", &errs)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(errs.String(), "metrics at "))
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("slubd_")) {
		t.Errorf("%s, %v: %.200s", response.Status, err, body)
	}
	stop()
	if _, err := http.Get(url); err == nil {
		t.Error("metrics are served after stop")
	}
}

func TestServiceErrors(t *testing.T) {
	code, _, stderr := bench(t, append(quick, "-listen", "nowhere:x")...)
	if code != exitFailed || !strings.Contains(stderr, "-listen") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestProgressNeedsTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, new(bytes.Buffer)} {
		p := newProgress(w)
		p.step(runner.Step{Runs: 2, Done: 1})
		if p.w != io.Discard {
			t.Errorf("progress is written to %T, which is not a terminal", w)
		}
	}
	var b bytes.Buffer
	p := progress{w: &b}
	p.step(runner.Step{Runs: 4, Done: 1, Name: "go", Stage: "round 1 of 2"})
	if !strings.Contains(b.String(), " 25 %") || !strings.Contains(b.String(), "go, round 1 of 2") {
		t.Errorf("progress %q", b.String())
	}
}
