package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
)

func TestMatrix(t *testing.T) {
	d := sample()
	for _, by := range []string{runner.ByNode, runner.ByL3} {
		for _, from := range []int{0, 2} {
			for _, to := range []int{0, 2} {
				d.Matrix = append(d.Matrix, runner.Crossing{By: by, Alloc: from, Free: to, Method: "Free", Size: 64,
					AllocNs: 4.5, FreeNs: 4.25 + float64(10*to), N: 3, Objects: 1000, Remote: 5 * from,
					AllocInterval: &stat.Interval{Low: 4.5, High: 9}, FreeInterval: &stat.Interval{Low: 4, High: 24.25}})
			}
		}
	}
	d.Matrix = append(d.Matrix, runner.Crossing{By: runner.ByNode, Alloc: 3, MemoryOnly: true, Free: 0, Method: "Free", Size: 64,
		AllocNs: 50, FreeNs: 40, N: 3})
	d.Notes = []string{"a note"}
	var text, lines bytes.Buffer
	if err := d.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\nFree, 64 bytes +node 0 +node 2\n`, `\nnode 0 +4\.50\+4\.25 +0\.0 % +4\.50\+24\.2 +0\.0 %\n`, `\nnode 2 .* 1\.0 %\n`,
		`\nthe medians lie within ±471% or less\n`, `\nnode 3 \(memory only, AllocNode\) +50\.0\+40\.0 +\? +-\n`, `\nFree, 64 bytes +L3 0 +L3 2\n`, `\nL3 2 `, `\na note\n`,
	} {
		if !regexp.MustCompile(want).MatchString(text.String()) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := d.GoBench(&lines); err != nil {
		t.Fatal(err)
	}
	want := "BenchmarkNUMA/by=l3/alloc=2/free=0/method=Free/size=64\t3\t4.5000 alloc-ns/op\t4.2500 free-ns/op\t0.010000 remote/op\n"
	if !strings.Contains(lines.String(), want) {
		t.Errorf("no %q in\n%s", want, lines.String())
	}
}
