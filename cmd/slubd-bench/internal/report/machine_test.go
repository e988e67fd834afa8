package report

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/numa"
)

func TestDescribe(t *testing.T) {
	e := Describe()
	if e.Engine != "rseq" && e.Engine != "trylock" {
		t.Errorf("engine %q", e.Engine)
	}
	if info, ok := debug.ReadBuildInfo(); ok && len(info.Settings) > 0 && e.Cgo != native.Available && runtime.GOOS == "linux" {
		t.Errorf("cgo is %v", e.Cgo)
	}
	if e.CPUs < 1 || e.Nodes < 1 || e.Kernel == "" || e.Go != runtime.Version() || e.GOMAXPROCS < 1 {
		t.Errorf("unknown fields in %+v", e)
	}
}

func TestAverages(t *testing.T) {
	for text, want := range map[string]string{"0.43 0.13 0.04 1/93 4711": "0.43 0.13 0.04", "0.5": "0.5", "": ""} {
		if got := averages(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestMachineReportsCrossCheck(t *testing.T) {
	for _, c := range []struct {
		differences []numa.Difference
		want        string
	}{
		{differences: nil, want: "no differences between sysfs and cpuid\n"},
		{differences: []numa.Difference{
			{Fact: "threads per core", Sysfs: 2, Source: "cpuid", Other: 1},
			{Fact: "threads per package", Sysfs: 4, Source: "cpuid", Other: 2},
		}, want: "(slubd uses sysfs): threads per core: sysfs says 2, cpuid 1; threads per package: sysfs says 4, cpuid 2\n"},
	} {
		var b bytes.Buffer
		if err := (Document{Env: Env{Machine: Machine{Differences: c.differences}}}).Machine(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("no %q in\n%s", c.want, b.String())
		}
	}
}
