package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestCurves(t *testing.T) {
	d := sample()
	d.Results = nil
	add := func(name, alloc string, threads, size int, ns float64, extra map[string]any) {
		r := result(alloc, ns)
		r.Workload, r.Threads, r.Size, r.Extra = name, threads, size, extra
		d.Results = append(d.Results, r)
	}
	ours := map[string]any{workload.Tail: 40.0, workload.BarnGetFail: 0.25, workload.FreeSlowpath: 12.5}
	for _, threads := range []int{4, 1} {
		add("pair", workload.Slubd, threads, 64, 5, ours)
	}
	add("pair", workload.TCMalloc, 1, 64, 4, map[string]any{workload.Tail: 20.0})
	add("pair", workload.Slubd, 1, 128, 8, ours)
	add("xfer", workload.Slubd, 4, 64, 10, ours)
	add("mix", workload.Slubd, 1, 0, 10, ours)
	d.Env.Scaling = true
	var b bytes.Buffer
	if err := d.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\npair, 64 bytes\n\nthreads +slubd +p99\.9 +barn_get_fail +free_slowpath +tcmalloc +p99\.9\n` +
			`1 +200 +40\.0 +0\.25 +12\.5 +250 +20\.0\n4 +800 +40\.0 +0\.25 +12\.5 +- +-\n`,
		`\npair, 128 bytes\n\n.*\n1 +125 `, `\nxfer, 64 bytes\n\n.*\n4 +200 `, `\nmix, mixed sizes\n`,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "geometric mean") {
		t.Error("curves have a geometric mean")
	}
	d.Results = []runner.Result{}
	b.Reset()
	if err := d.Text(&b); err != nil || strings.Contains(b.String(), "millions") {
		t.Errorf("without results: %v\n%s", err, b.String())
	}
}
