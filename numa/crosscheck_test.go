package numa

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/testutil"
)

func TestCrossCheck(t *testing.T) {
	tree := fstest.MapFS{
		"devices/system/cpu/cpu0/cache/index0/coherency_line_size": testutil.Text("128"),
		"devices/system/cpu/cpu0/topology/thread_siblings_list":    testutil.Text("0,8"),
		"devices/system/cpu/cpu0/topology/core_siblings_list":      testutil.Text("0-15"),
	}
	facts := sysfs{tree}.cpuFacts()
	for name, c := range map[string]struct {
		cpuid cpuFacts
		want  []string
	}{
		"agree":   {cpuFacts{128, 2, 16}, []string{"bytes per cache line: sysfs says 128, slubd assumes 64"}},
		"unknown": {cpuFacts{}, []string{"bytes per cache line: sysfs says 128, slubd assumes 64"}},
		"differ": {cpuFacts{64, 1, 8}, []string{
			"bytes per cache line: sysfs says 128, cpuid 64",
			"bytes per cache line: sysfs says 128, slubd assumes 64",
			"threads per core: sysfs says 2, cpuid 1",
			"threads per package: sysfs says 16, cpuid 8",
		}},
	} {
		if got := facts.differences(c.cpuid); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCrossCheckNeedsNoSysfs(t *testing.T) {
	for _, tree := range []fstest.MapFS{
		{},
		{"devices/system/cpu/cpu0/cache/index0/coherency_line_size": testutil.Text("wide")},
	} {
		if got := load(t, tree).CrossCheck(); got != nil {
			t.Errorf("differences to nothing: %q", got)
		}
	}
}
