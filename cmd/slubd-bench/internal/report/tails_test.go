package report

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestTails(t *testing.T) {
	d := sample()
	add := func(name, alloc string, ghz float64, latency map[string]tail.Latency) {
		r := result(alloc, 20)
		r.Workload, r.Unit, r.Threads = name, workload.PerCall, 2
		r.Extra = map[string]any{workload.TimerCost: 9.0, workload.TimerTSC: ghz, runner.Latency: latency}
		if name == "tail-steady" {
			r = several(r)
		}
		d.Results = append(d.Results, r)
	}
	own, late := tail.Latency{P50: 11, P99: 22, P999: 33, P9999: 44, P99999: 55, Max: 66}, tail.Latency{P50: 12, Max: 77}
	all := map[string]tail.Latency{"alloc": own, "alloc_response": late, "free": late, "free_response": own}
	add("tail-steady", workload.Slubd, 2.8, all)
	add("tail-bursty", workload.Slubd, 2.8, all)
	add("tail-steady", workload.Go, 2.8, map[string]tail.Latency{"alloc": own, "alloc_response": late})
	var b bytes.Buffer
	if err := d.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\ntail-steady, 2 threads, 64 bytes\n\n +Alloc p50 +p99 +p99\.9 +p99\.99 +p99\.999 +max +Free p50 .* max\n` +
			`slubd +11 +22 +33 +44 +55 +66 +12 +0 +0 +0 +0 +77\n +\+wait +12 +0 +0 +0 +0 +77 +11 .* 66\n` +
			`go +11 +22 +33 +44 +55 +66 +- +- +- +- +- +-\n`,
		`\np99\.9 of Alloc in each run, the median: slubd 20 ±10%, go 20 ±10%\n\ntail-bursty`,
		`\ntail-bursty, 2 threads, 64 bytes\n`,
		`time-stamp counter \(2\.800 GHz\); .*: slubd 9\.00, go 9\.00\n`,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	for i := range d.Results {
		if d.Results[i].Unit == workload.PerCall {
			d.Results[i].Extra[workload.TimerTSC] = 0.0
		}
	}
	b.Reset()
	if err := d.Text(&b); err != nil || !regexp.MustCompile(`timed by the system's clock`).MatchString(b.String()) {
		t.Errorf("%v, without a time-stamp counter:\n%s", err, b.String())
	}
}

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{0: "0", 9999: "9999", 10_000: "10.0us", 254_975: "255us", 1_000_000: "1.00ms", 133_169_151: "133ms"} {
		if got := duration(ns); got != want {
			t.Errorf("%d ns: %s, want %s", ns, got, want)
		}
	}
}
