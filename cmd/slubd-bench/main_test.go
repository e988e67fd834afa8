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
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/child"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestMain(m *testing.M) {
	child.Main()
	os.Exit(m.Run())
}

// bench runs the command.
func bench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// short makes a suite of an instant.
var short = []string{"-benchtime", "500us", "-count", "2", "-live", "10000", "-threads", "1", "-run", "^(pair|gc)$"}

func TestBadFlagsEndWithTwo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-nonsense"}, []string{"-nonsense"}},
		{[]string{"pair"}, []string{`"pair"`}},
		{[]string{"-run", "("}, []string{"-run", "missing closing"}},
		{[]string{"-run", "nowhere"}, []string{"nowhere matches no workload", "-list"}},
		{[]string{"-alloc", "slubd,hoard"}, []string{"-alloc", "hoard", "jemalloc"}},
		{[]string{"-threads", "0"}, []string{"-threads", "1 to 1024"}},
		{[]string{"-size", "64,x"}, []string{"-size", `"x"`}},
		{[]string{"-size", "4"}, []string{"8 to 8192"}},
		{[]string{"-benchtime", "0s"}, []string{"-benchtime"}},
		{[]string{"-benchtime", "fast"}, []string{"-benchtime", "fast"}},
		{[]string{"-count", "0"}, []string{"-count"}},
		{[]string{"-live", "0"}, []string{"-live"}},
		{[]string{"-format", "xml"}, []string{"-format", "xml", "gobench"}},
		{[]string{"-json", "-format", "gobench"}, []string{"exclude"}},
		{[]string{"-count", "0", "-alloc", "", "-size", "1"}, []string{"-count", "-alloc", "-size"}},
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

func TestHelpNamesEveryFlag(t *testing.T) {
	code, stdout, _ := bench(t, "-h")
	for _, name := range strings.Fields("run alloc threads size benchtime count seed list env json format listen") {
		if code != exitOK || !regexp.MustCompile(`(?m)^  -`+name+`\b`).MatchString(stdout) {
			t.Errorf("exit %d, -%s is not explained", code, name)
		}
	}
}

func TestListNamesEverything(t *testing.T) {
	code, stdout, _ := bench(t, "-list")
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
	for _, w := range workload.Catalog() {
		if !regexp.MustCompile(`(?m)^  ` + w.Name + ` `).MatchString(stdout) {
			t.Errorf("%s is not listed", w.Name)
		}
	}
	for _, alloc := range workload.Entrants() {
		if !regexp.MustCompile(`(?m)^  ` + alloc + ` `).MatchString(stdout) {
			t.Errorf("%s is not listed", alloc)
		}
	}
}

func TestListIsJSONToo(t *testing.T) {
	code, stdout, stderr := bench(t, "-list", "-json")
	var c catalog
	if err := json.Unmarshal([]byte(stdout), &c); code != exitOK || stderr != "" || err != nil {
		t.Fatalf("exit %d, %s, %v", code, stderr, err)
	}
	if len(c.Workloads) != len(workload.Catalog()) || len(c.Entrants) != len(workload.Entrants()) {
		t.Errorf("%d workloads and %d entrants", len(c.Workloads), len(c.Entrants))
	}
	for _, w := range c.Workloads {
		if w.Name == "" || w.Unit == "" || w.About == "" || len(w.Entrants) == 0 || w.Entrants[0] != workload.Slubd {
			t.Errorf("%+v", w)
		}
	}
}

func TestListSaysWhatToInstall(t *testing.T) {
	var b bytes.Buffer
	if err := (options{}).list(&b, native.Libraries(), []string{t.TempDir()}); err != nil {
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
	code, stdout, stderr := bench(t, append(short, "-json")...)
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
		code, stdout, _ := bench(t, append(short, "-format", format)...)
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d, no %q in\n%s", format, code, want, stdout)
		}
	}
}

func TestEnvMeasuresNothing(t *testing.T) {
	code, stdout, _ := bench(t, "-env", "-json")
	if code != exitOK || !strings.Contains(stdout, `"results": []`) || !strings.Contains(stdout, `"engine": "`) {
		t.Errorf("exit %d, %s", code, stdout)
	}
	code, stdout, _ = bench(t, "-env")
	if code != exitOK || !strings.Contains(stdout, "engine ") || !strings.Contains(stdout, "load averages") {
		t.Errorf("exit %d, %s", code, stdout)
	}
}

func TestNothingMeasuredIsAFailure(t *testing.T) {
	code, _, stderr := bench(t, append(short, "-alloc", "jemalloc", "-run", "^rcu$")...)
	if code != exitFailed || !strings.Contains(stderr, errIncomplete.Error()) {
		t.Errorf("rcu for jemalloc: exit %d, %s", code, stderr)
	}
}

func TestAnInterruptedSuiteStillPrints(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := run(ctx, append(short, "-json"), &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), errInterrupted.Error()) || !json.Valid(out.Bytes()) {
		t.Errorf("exit %d, %s, %s", code, errs.String(), out.String())
	}
}

func TestListenServesMetricsWhileRunning(t *testing.T) {
	var errs bytes.Buffer
	stop, err := accompany(options{listen: "127.0.0.1:0"}, &errs)
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
		t.Error("metrics are served after the end")
	}
}

func TestWhatCannotAccompanyIsAnError(t *testing.T) {
	for _, args := range [][]string{{"-listen", "nowhere:x"}, {"-cpuprofile", t.TempDir()}} {
		code, _, stderr := bench(t, append(short, args...)...)
		if code != exitFailed || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

func TestCPUProfileIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu")
	if code, _, stderr := bench(t, append(short, "-alloc", "pool", "-run", "pair", "-cpuprofile", path)...); code != exitOK {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, new(bytes.Buffer)} {
		p := newProgress(w)
		p.step(runner.Step{Runs: 2, Done: 1})
		if p.w != io.Discard {
			t.Errorf("progress goes to %T, which is no terminal", w)
		}
	}
	var b bytes.Buffer
	p := progress{&b}
	p.step(runner.Step{Runs: 4, Done: 1, Alloc: "go", Stage: "round 1 of 2"})
	if !strings.Contains(b.String(), " 25 %") || !strings.Contains(b.String(), "go, round 1 of 2") {
		t.Errorf("progress %q", b.String())
	}
}
