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
		want  []Difference
	}{
		"agree": {
			cpuid: cpuFacts{cacheLine: 128, threadsPerCore: 2, threadsPerPackage: 16},
			want:  []Difference{{Fact: "bytes per cache line", Sysfs: 128, Source: "slubd", Other: 64}},
		},
		"unknown": {
			want: []Difference{{Fact: "bytes per cache line", Sysfs: 128, Source: "slubd", Other: 64}},
		},
		"differ": {
			cpuid: cpuFacts{cacheLine: 64, threadsPerCore: 1, threadsPerPackage: 8},
			want: []Difference{
				{Fact: "bytes per cache line", Sysfs: 128, Source: "cpuid", Other: 64},
				{Fact: "bytes per cache line", Sysfs: 128, Source: "slubd", Other: 64},
				{Fact: "threads per core", Sysfs: 2, Source: "cpuid", Other: 1},
				{Fact: "threads per package", Sysfs: 16, Source: "cpuid", Other: 8},
			},
		},
	} {
		if got := facts.differences(c.cpuid); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	text := Difference{Fact: "threads per core", Sysfs: 2, Source: "cpuid", Other: 1}.String()
	if want := "threads per core: sysfs says 2, cpuid 1"; text != want {
		t.Errorf("text is %q, want %q", text, want)
	}
}

func TestCrossCheckNeedsNoSysfs(t *testing.T) {
	for _, tree := range []fstest.MapFS{
		{},
		{"devices/system/cpu/cpu0/cache/index0/coherency_line_size": testutil.Text("wide")},
	} {
		if got := load(t, tree).CrossCheck(); got != nil {
			t.Errorf("differences without sysfs: %v", got)
		}
	}
}
