package runner

import (
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestMemoryIsReadBetweenRuns runs a loop in this process, one in a child, and a heap.
func TestMemoryIsReadBetweenRuns(t *testing.T) {
	cfg := brief(workload.Slubd, workload.Malloc)
	cfg.Memory = true
	r, err := Run(t.Context(), plan("^(pair|gc)$", 1), cfg)
	if err != nil || r.Memory == nil || len(r.Memory.Cases) != 2 {
		t.Fatalf("%+v, %v", r.Memory, err)
	}
	want := []string{MemoryGoHeap, MemoryArena}
	if runtime.GOOS == "linux" {
		want = append(want, MemoryProcess, "slubd (heap of gc)")
		if native.Available {
			want = append(want, workload.Malloc)
		}
	}
	for _, name := range want {
		i := slices.IndexFunc(r.Memory.Series, func(s MemorySeries) bool { return s.Name == name })
		if i < 0 {
			t.Errorf("no series %q", name)
			continue
		}
		last := 0.0
		for _, p := range r.Memory.Series[i].Points {
			if p.Bytes <= 0 || p.Seconds < last {
				t.Errorf("%s: %+v after %v s", name, p, last)
			}
			last = p.Seconds
		}
		if n := len(r.Memory.Series[i].Points); n < cfg.Count {
			t.Errorf("%s: %d readings", name, n)
		}
	}
	cfg.Memory = false
	if r, err := Run(t.Context(), plan("^pair$", 1), cfg); err != nil || r.Memory != nil {
		t.Errorf("%+v, %v", r.Memory, err)
	}
}

func TestResidentOf(t *testing.T) {
	if n, err := residentOf("100 25 3 1 0 9 0\n"); err != nil || n != 25*int64(os.Getpagesize()) {
		t.Errorf("%d, %v", n, err)
	}
	for _, text := range []string{"", "100", "100 many"} {
		if _, err := residentOf(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	s := arena.Stats{Mapped: 1, MappedFree: 2, Metadata: 4, Nodes: []arena.NodeStats{{Used: 8, Free: 16, Purged: 1000}, {Used: 32}}}
	if n := arenaBytes(s); n != 63 {
		t.Errorf("an arena of 63 bytes has %d", n)
	}
}
