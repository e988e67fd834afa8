package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
)

// saved writes a document with seven runs of pair around a median.
func saved(t *testing.T, name, alloc string, median float64) string {
	t.Helper()
	var d report.Document
	text := `{"results": [{"workload": "pair", "alloc": "` + alloc + `", "threads": 1, "size": 64, "unit": "ns/op", "values": [1, 2, 3, 4, 5, 6, 7]}]}`
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	for i := range d.Results[0].Values {
		d.Results[0].Values[i] = median + d.Results[0].Values[i]/1e4
	}
	file := filepath.Join(t.TempDir(), name)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.JSON(f); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExitCodeOfComparison measures nothing: it compares files.
func TestExitCodeOfComparison(t *testing.T) {
	old := saved(t, "old.json", "slubd", 100)
	for _, c := range []struct {
		file string
		args []string
		want int
	}{
		{saved(t, "same.json", "slubd", 100), nil, exitOK},
		{saved(t, "faster.json", "slubd", 50), nil, exitOK},
		{saved(t, "slower.json", "slubd", 107), nil, exitRegression},
		{saved(t, "slower.json", "slubd", 107), []string{"-threshold", "10"}, exitOK},
		{saved(t, "slower.json", "slubd", 101), []string{"-threshold", "0.5"}, exitRegression},
		{saved(t, "slower.json", "slubd", 107), []string{"-json"}, exitRegression},
		{saved(t, "other.json", "go", 200), nil, exitOK},
	} {
		code, stdout, stderr := bench(t, append(append([]string{"-compare", old}, c.args...), c.file)...)
		if code != c.want || !strings.Contains(stdout, "pair") || (code == exitRegression) != strings.Contains(stderr, errRegression.Error()) {
			t.Errorf("%s %v: exit %d, %q, %q", filepath.Base(c.file), c.args, code, stdout, stderr)
		}
		if len(c.args) > 0 && c.args[0] == "-json" != json.Valid([]byte(stdout)) {
			t.Errorf("%v: %s", c.args, stdout)
		}
	}
}

// TestExitCodes has figures that are missing beside a regression.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK}, {errRegression, exitRegression}, {errIncomplete, exitFailed}, {errInterrupted, exitFailed},
		{errors.Join(errInterrupted, errRegression), exitFailed},
	} {
		if code := exitCode(c.err); code != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, code, c.want)
		}
	}
}

// TestCompareWhileMeasuring has an old document in which slubd took no time to speak of, so that it
// has regressed, and one that another implementation wrote, so that it hasn't.
func TestCompareWhileMeasuring(t *testing.T) {
	args := []string{"-benchtime", "200us", "-count", "6", "-threads", "1", "-run", "^pair$", "-alloc", "slubd"}
	for _, c := range []struct {
		alloc, want string
		code        int
	}{
		{"slubd", "\n1 regression of slubd", exitRegression},
		{"go", "\nnot measured now: pair, 1 thread, size 64, go\nnot in ", exitOK},
	} {
		code, stdout, stderr := bench(t, append(args, "-compare", saved(t, "old.json", c.alloc, 1e-3))...)
		if code != c.code || !strings.Contains(stdout, c.want) || !strings.Contains(stdout, "warning: CPUs: 0 then, ") {
			t.Errorf("exit %d, no %q in\n%s%s", code, c.want, stdout, stderr)
		}
	}
}

func TestEnvironIsWhatChangesFigures(t *testing.T) {
	got := environ([]string{"HOME=/root", "GOGC=400", "SLUBD_DEBUG=F,a=b", "GOMEMLIMIT=", "PASSWORD=x"})
	if len(got) != 3 || got["GOGC"] != "400" || got["SLUBD_DEBUG"] != "F,a=b" {
		t.Errorf("%v", got)
	}
}
