package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// result has seven runs around a median.
func result(name, alloc string, threads int, median float64) runner.Result {
	r := runner.Result{Workload: name, Alloc: alloc, Threads: threads, Size: 64, Unit: workload.PerOp, N: 7, Extra: map[string]any{}}
	for i := range 7 {
		r.Values = append(r.Values, median*(0.94+float64(i)/50))
	}
	r.Median, r.Interval = stat.Of(r.Values)
	r.Min, r.Max = slices.Min(r.Values), slices.Max(r.Values)
	return r
}

// latency is the distribution of 1000 calls from 20 ns to 20 us.
func latency(t *testing.T) map[string]tail.Latency {
	t.Helper()
	h := tail.NewHistogram()
	for i := range int64(1000) {
		if err := h.RecordValue(20 + i*i/50); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := tail.Encode(map[string]*hdrhistogram.Histogram{"": h})
	if err != nil {
		t.Fatal(err)
	}
	l := tail.Latency{Calls: 1000, P50: h.ValueAtPercentile(50), Max: h.Max(), HDR: texts[""]}
	return map[string]tail.Latency{"alloc": l, "alloc_response": l, "free": l, "free_response": l}
}

// document has one of everything.
func document(t *testing.T) report.Document {
	t.Helper()
	steady := result("tail-steady", workload.Slubd, 2, 40)
	steady.Unit, steady.Extra = workload.PerCall, map[string]any{runner.Latency: latency(t), workload.TimerCost: 9.0}
	gc := result("gc", workload.Go, 1, 30)
	gc.Unit, gc.Pauses = workload.PerCollection, []workload.Pause{{Ns: 10_000, Count: 3}, {Ns: 70_000, Count: 1}}
	few := result("pair", workload.Pool, 2, 9)
	few.Values, few.Interval, few.N = few.Values[:3], nil, 3
	m := report.Machine{CPU: "CPU <b>& more</b>", CPUs: 2, Kernel: "Linux 6", Go: "go1.26", OS: "linux", Arch: "amd64"}
	m.NUMA = &machine.Machine{Findings: []machine.Finding{
		{Fact: "virtual machine", Value: "yes", Spoils: true, Advice: "repeat it"}, {Fact: "nodes", Value: "1 node"},
	}}
	d := report.New(m, 1, time.Second, 7, runner.Report{
		Results: []runner.Result{
			result("pair", workload.Go, 1, 37), result("pair", workload.Slubd, 1, 3), result("pair", workload.TCMalloc, 1, 3.2), few,
			result("churn", workload.Slubd, 1, 9), result("churn", workload.Go, 1, 46), steady, gc,
		},
		Failures: []runner.Failure{{Workload: "mix", Alloc: "go", Error: "broken"}},
		Notes:    []string{"a note"},
		Memory: &runner.Memory{
			Series: []runner.MemorySeries{
				{Name: runner.MemoryProcess, Points: []runner.MemoryPoint{{Seconds: 0, Bytes: 1 << 20}, {Seconds: 1.5, Bytes: 3 << 20}}},
				{Name: "tcmalloc", Points: []runner.MemoryPoint{{Seconds: 0.2, Bytes: 5 << 20}}},
			},
			Cases: []runner.CaseStart{{Seconds: 0.1, Name: "pair, threads 1, size 64"}},
		},
	})
	d.Env.Flags, d.Env.Environ, d.Env.Time = map[string]string{"run": "^(pair|gc)$", "pin": "", "numa": "false", "scaling": "true"}, map[string]string{"GOGC": "50"}, "2026-11-29T06:00:00Z"
	d.Comparison = d.Compare(d, "old.json", 0.05)
	return d
}

func write(t *testing.T, d report.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page needs nothing that it doesn't have, and runs nothing.
func TestPageIsSelfContained(t *testing.T) {
	text := write(t, document(t))
	for _, bad := range []string{"<script", "http://", "https://", "src=", "@import", "url(", "ZgotmplZ", "NaN", "Inf", "<no value>", "<b>&"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(link[1], "#") || !strings.Contains(text, `id="`+link[1][1:]+`"`) {
			t.Errorf("a link leads to %s", link[1])
		}
	}
	if !strings.Contains(text, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("the page may load and run what it likes")
	}
	if !strings.Contains(text, "CPU &lt;b&gt;&amp; more&lt;/b&gt;") {
		t.Error("a name is not escaped")
	}
}

// Each chart has a line for each implementation with its figures as text, and a table behind.
func TestPageHasEverything(t *testing.T) {
	text := write(t, document(t))
	for what, pattern := range map[string]string{
		"a bar's text":      `aria-label="slubd: 3\.00 ±6%, x1\.00"`,
		"a ratio":           `(?s)<div class="line s-go"><span class="name">go</span>.*?<span class="value">37\.0 ±6%</span><span class="ratio">x12\.3</span>`,
		"no interval":       `(?s)<th scope="row">pool</th><td>9\.00</td><td>needs 6 runs</td>`,
		"a logarithmic one": `1 thread, 64 B</b> <span>ns per operation and thread, logarithmic</span>`,
		"a linear one":      `1 thread, 64 B</b> <span>ns per operation and thread</span>`,
		"the latency":       `(?s)id="latency".*tail-steady <small>2 threads, 64 B</small>.*<b>Alloc</b>.*slubd (\+|&#43;)wait.*<b>Free</b>`,
		"its percentiles":   `(?s)class="xtick"[^>]*>99\.9<`,
		"memory":            `(?s)id="memory".*process of Go&#39;s loops</th><td>1 MiB</td><td>3 MiB</td><td>3 MiB</td><td>2</td>`,
		"when a row began":  `<li>pair, threads 1, size 64</li>`,
		"pauses":            `(?s)id="pauses".*gc, 1 thread, 64 B</th><td>go</td><td>4</td><td>10 us</td><td>70 us</td><td>70 us</td>`,
		"what spoils":       `<b>virtual machine: yes</b> repeat it`,
		"what doesn't":      `<dt>nodes</dt><dd>1 node</dd>`,
		"a failure":         `<b>1</b> of the measurements failed`,
		"its reason":        `<li>FAILED mix, threads 0, size 0, go: broken</li>`,
		"a note":            `<li>a note</li>`,
		"the comparison":    `(?s)id="comparison".*Compared with old\.json.*no significant regression.*<th scope="row">pair, 1 thread, 64 B</th><td>go</td><td>ns/op</td><td>37\.0  ±6%</td><td>37\.0  ±6%</td><td>~</td>`,
		"what tcmalloc is":  `<dt class="s-tcmalloc">tcmalloc</dt><dd>a malloc for C, called from loops in C</dd>`,
		"which way is good": `(?s)id="workloads".*Less is better.*id="latency".*Less is better.*id="memory".*less is better.*id="pauses".*Less is better`,
		"abbreviations":     `(?s)ns, us and ms are.*p99\.9 is the time.*GC is`,
		"the command":       `slubd-bench -run &#39;\^\(pair\|gc\)\$&#39; -scaling</pre>`,
		"the environment":   `<code>GOGC=50</code>`,
	} {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("the page lacks %s: %s", what, pattern)
		}
	}
	charts, tables := strings.Count(text, "<figure"), strings.Count(text, "<summary>table</summary>")
	if charts != 9 || tables != charts {
		t.Errorf("%d charts with %d tables", charts, tables)
	}
	if n := strings.Count(text, `class="median`) - strings.Count(text, `class="median s-slubd"`); n != 9 {
		t.Errorf("%d medians are drawn", n) // of 8 results, and of the pauses
	}
	// The markup is balanced: all but the head is XML.
	body := text[strings.Index(text, "<body>"):strings.Index(text, "</html>")]
	parser := xml.NewDecoder(strings.NewReader(strings.ReplaceAll(body, "<details open>", "<details>")))
	for {
		if _, err := parser.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Empty parts leave no empty frames.
func TestPageOfNothing(t *testing.T) {
	text := write(t, report.New(report.Machine{}, 1, time.Second, 1, runner.Report{}))
	for _, part := range []string{`id="compared"`, `id="workloads"`, `id="latency"`, `id="memory"`, `id="comparison"`, "<figure"} {
		if strings.Contains(text, part) {
			t.Errorf("a run without results has %s", part)
		}
	}
	if !strings.Contains(text, "made no pause") || !strings.Contains(text, "Nothing that this machine tells") {
		t.Error("the page doesn't say that there is nothing")
	}
}

func TestBrokenHistogramIsAnError(t *testing.T) {
	d := document(t)
	d.Results[6].Extra[runner.Latency] = map[string]tail.Latency{"alloc": {HDR: "no histogram"}}
	if err := Write(io.Discard, d); err == nil || !strings.Contains(err.Error(), "tail-steady, slubd") {
		t.Error(err)
	}
}

func TestAxis(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		log     bool
		ticks   []float64
	}{
		{[]float64{3, 9.2}, false, []float64{0, 2, 4, 6, 8, 10}},
		{[]float64{0.27, 0.28}, false, []float64{0, 0.1, 0.2, 0.3}},
		{[]float64{3, 40}, true, []float64{5, 10, 20}},
		{[]float64{3, 2000}, true, []float64{3, 10, 30, 100, 300, 1000}},
		{[]float64{0, 0}, false, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{[]float64{0, 100, 50}, false, []float64{0, 20, 40, 60, 80, 100}},
	} {
		a := newAxis(c.figures)
		got := a.ticks()
		same := len(got) == len(c.ticks)
		for i := range min(len(got), len(c.ticks)) {
			same = same && math.Abs(got[i]-c.ticks[i]) < 1e-9
		}
		if a.log != c.log || !same {
			t.Errorf("%v: %+v with ticks %v", c.figures, a, got)
		}
		for _, x := range c.figures {
			if at := a.at(x); at < 0 || at > 100 || math.IsNaN(at) {
				t.Errorf("%v: %v lies at %v", c.figures, x, at)
			}
		}
	}
	if n := len(logAxis(1, 1e11).ticks()); n < 4 || n > 8 {
		t.Errorf("eleven decades have %d ticks", n)
	}
	for _, c := range []struct {
		got, want string
	}{
		{nanoseconds(12.5), "12.5 ns"}, {nanoseconds(1500), "1.5 us"}, {nanoseconds(1e10), "10 s"}, {sizeText(1 << 20), "1 MiB"},
		{sizeText(1023), "1023 B"}, {percent(12.5), "12.5%"}, {percent(100), "100%"}, {percent(0), "0%"}, {figure(0.274), "0.27"},
		{figure(123456), "123456"}, {short(1000), "1000"}, {short(20_000), "20k"}, {short(0.25), "0.25"}, {short(2e6), "2M"}, {short(300), "300"}, {figure(2.5e7), "25M"}, {quoted("a'b"), `'a'\''b'`}, {quoted("64"), "64"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// Equal factors are equal distances.
func TestLogarithmicPlaces(t *testing.T) {
	a := axis{low: 1, high: 10_000, log: true}
	for x, want := range map[float64]float64{0.5: 0, 1: 0, 10: 25, 100: 50, 1000: 75, 10_000: 100, 1e9: 100} {
		if at := a.at(x); math.Abs(at-want) > 1e-9 {
			t.Errorf("%v lies at %v, not at %v", x, at, want)
		}
	}
}
