package runner

import (
	"regexp"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestPlanNarrowsThreadsAndSizes(t *testing.T) {
	for _, c := range []struct {
		workload                      string
		threads, sizes                []int
		wantThreads, wantSizes, lives []int
	}{
		{"pair", []int{1, 3}, []int{64, 256}, []int{1, 1, 3, 3}, []int{64, 256, 64, 256}, []int{0, 0, 0, 0}},
		{"xfer", []int{1, 2, 3, 4}, []int{64}, []int{2, 4}, []int{64, 64}, []int{0, 0}},
		{"xfer", []int{1}, []int{64}, []int{2}, []int{64}, []int{0}},
		{"mix", []int{2}, []int{64, 256}, []int{2}, []int{0}, []int{workload.MixLive}},
		{"larson", []int{1, 2}, []int{64, 256}, []int{1, 2}, []int{0, 0}, []int{workload.LarsonLive, workload.LarsonLive}},
		{"xmalloc", []int{1, 3}, []int{64, 256}, []int{2, 2}, []int{64, 256}, []int{0, 0}},
		{"cache-thrash", []int{2}, []int{64, 256}, []int{2}, []int{workload.CacheSize}, []int{0}},
		{"rcu-read", []int{1, 2}, []int{128}, []int{1, 2}, []int{workload.HeapSize, workload.HeapSize}, []int{0, 0}},
		{"rcu-map-50-50", []int{2}, []int{128}, []int{2}, []int{128}, []int{workload.RCUMapKeys}},
		{"gp-latency", []int{2, 4}, []int{128}, []int{1}, []int{workload.HeapSize}, []int{0}},
		{"gc-map", []int{2, 4}, []int{256}, []int{1}, []int{workload.HeapSize}, []int{1}},
		{"gc", []int{2, 4}, []int{256}, []int{1}, []int{workload.HeapSize}, []int{7}},
		{"resident", []int{2, 4}, []int{256}, []int{1}, []int{workload.HeapSize}, []int{workload.ResidentLive}},
	} {
		var threads, sizes, lives []int
		for _, got := range Plan(Choice{Run: regexp.MustCompile("^" + c.workload + "$"), Threads: c.threads, Sizes: c.sizes, Live: 7}) {
			threads = append(threads, got.Spec.Threads)
			sizes = append(sizes, got.Spec.Size)
			lives = append(lives, got.Spec.Live)
		}
		if !slices.Equal(threads, c.wantThreads) || !slices.Equal(sizes, c.wantSizes) || !slices.Equal(lives, c.lives) {
			t.Errorf("%s: threads %v, sizes %v, live %v", c.workload, threads, sizes, lives)
		}
	}
}

func TestPlanKeepsTheCatalogueOrder(t *testing.T) {
	var names []string
	for _, c := range Plan(Choice{Threads: []int{1}, Sizes: []int{64}}) {
		names = append(names, c.Workload.Name)
	}
	var want []string
	for _, w := range workload.Catalog() {
		want = append(want, w.Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("planned %v", names)
	}
}
