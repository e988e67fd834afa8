package runner

import (
	"regexp"
	"slices"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestPlanPinsAllButHeaps(t *testing.T) {
	for _, c := range Plan(Choice{Run: regexp.MustCompile("."), Threads: []int{2}, Sizes: []int{64}, CPUs: []int{3, 1}, Chunks: true}) {
		heap := c.Workload.Kind.WholeHeap() || c.Workload.Kind.OnNodes()
		if pinned := len(c.Spec.CPUs) == 2 && c.Spec.CPU(2) == 3; pinned == heap {
			t.Errorf("%v: %v", c, c.Spec.CPUs)
		}
		if c.Spec.Chunk < 100 || c.Spec.WithOps(1).Ops%c.Spec.Chunk != 0 || c.Spec.Chunk%max(1, c.Spec.Batch) != 0 {
			t.Errorf("%v: chunks of %d", c, c.Spec.Chunk)
		}
	}
}

func TestPlanNarrowsThreadsAndSizes(t *testing.T) {
	for _, c := range []struct {
		workload                      string
		threads, sizes                []int
		wantThreads, wantSizes, lives []int
	}{
		{
			workload: "pair", threads: []int{1, 3}, sizes: []int{64, 256},
			wantThreads: []int{1, 1, 3, 3}, wantSizes: []int{64, 256, 64, 256}, lives: []int{0, 0, 0, 0},
		},
		{
			workload: "xfer", threads: []int{1, 2, 3, 4}, sizes: []int{64},
			wantThreads: []int{2, 4}, wantSizes: []int{64, 64}, lives: []int{0, 0},
		},
		{
			workload: "xfer", threads: []int{1}, sizes: []int{64},
			wantThreads: []int{2}, wantSizes: []int{64}, lives: []int{0},
		},
		{
			workload: "mix", threads: []int{2}, sizes: []int{64, 256},
			wantThreads: []int{2}, wantSizes: []int{0}, lives: []int{workload.MixLive},
		},
		{
			workload: "larson", threads: []int{1, 2}, sizes: []int{64, 256},
			wantThreads: []int{1, 2}, wantSizes: []int{0, 0}, lives: []int{workload.LarsonLive, workload.LarsonLive},
		},
		{
			workload: "xmalloc", threads: []int{1, 3}, sizes: []int{64, 256},
			wantThreads: []int{2, 2}, wantSizes: []int{64, 256}, lives: []int{0, 0},
		},
		{
			workload: "cache-thrash", threads: []int{2}, sizes: []int{64, 256},
			wantThreads: []int{2}, wantSizes: []int{workload.CacheSize}, lives: []int{0},
		},
		{
			workload: "large", threads: []int{1, 2}, sizes: []int{64},
			wantThreads: []int{1, 1, 1, 1, 2, 2, 2, 2},
			wantSizes:   []int{64 << 10, 256 << 10, 1 << 20, 8 << 20, 64 << 10, 256 << 10, 1 << 20, 8 << 20}, lives: make([]int, 8),
		},
		{
			workload: "rcu-read", threads: []int{1, 2}, sizes: []int{128},
			wantThreads: []int{1, 2}, wantSizes: []int{workload.HeapSize, workload.HeapSize}, lives: []int{0, 0},
		},
		{
			workload: "rcu-map-50-50", threads: []int{2}, sizes: []int{128},
			wantThreads: []int{2}, wantSizes: []int{128}, lives: []int{workload.RCUMapKeys},
		},
		{
			workload: "gp-latency", threads: []int{2, 4}, sizes: []int{128},
			wantThreads: []int{1}, wantSizes: []int{workload.HeapSize}, lives: []int{0},
		},
		{
			workload: "gc-map", threads: []int{2, 4}, sizes: []int{256},
			wantThreads: []int{1}, wantSizes: []int{workload.HeapSize}, lives: []int{1},
		},
		{
			workload: "gc", threads: []int{2, 4}, sizes: []int{256},
			wantThreads: []int{1}, wantSizes: []int{workload.HeapSize}, lives: []int{7},
		},
		{
			workload: "resident", threads: []int{2, 4}, sizes: []int{256},
			wantThreads: []int{1}, wantSizes: []int{workload.HeapSize}, lives: []int{workload.ResidentLive},
		},
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

func TestPlanKeepsCatalogOrder(t *testing.T) {
	var names []string
	for _, c := range Plan(Choice{Run: regexp.MustCompile("."), Threads: []int{1}, Sizes: []int{64}}) {
		names = append(names, c.Workload.Name)
	}
	names = slices.Compact(names) // large has a case for each size
	var want []string
	for _, w := range workload.Catalog() {
		want = append(want, w.Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("planned %v", names)
	}
}

func TestPlanOfDefaultSuite(t *testing.T) {
	cases := Plan(Choice{Threads: []int{1}, Sizes: []int{64}})
	for _, c := range cases {
		if !c.Workload.Default {
			t.Errorf("%s runs by default", c.Workload.Name)
		}
	}
	if n := len(cases); n < 10 || n > 14 {
		t.Errorf("the default suite has %d workloads", n)
	}
}
