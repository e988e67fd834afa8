//go:build cgo && linux

package runner

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/numa"
)

// TestChildIsPinned runs C loops pinned, and has one fail on a CPU that doesn't exist.
func TestChildIsPinned(t *testing.T) {
	cpus, err := numa.Affinity()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "")
	for _, w := range workload.Catalog() {
		if !w.Has(workload.Malloc) || w.Kind == workload.Large {
			continue
		}
		spec := w.Spec(2, 64, 1).Small()
		spec.CPUs = cpus[:1]
		spec = spec.WithChunks()
		a, err := p.call(within(t, time.Minute), request{Op: opRun, Spec: spec.WithOps(2 * spec.Chunk)})
		if err != nil || a.Sample.Extra[workload.Tail] <= 0 {
			t.Errorf("%s: %+v, %v", w.Name, a.Sample, err)
		}
	}
	spec := pair
	spec.CPUs = []int{8191}
	_, err = p.call(within(t, time.Minute), request{Op: opRun, Spec: spec})
	if !errors.Is(err, errDied) || !strings.Contains(err.Error(), "sched_setaffinity failed") {
		t.Errorf("on CPU 8191: %v", err)
	}
}

func TestMallocFailureEndsChild(t *testing.T) {
	spec := pair
	spec.Size = 1 << 62
	_, err := start(t, "").call(within(t, time.Minute), request{Op: opRun, Spec: spec})
	if !errors.Is(err, errDied) || !strings.Contains(err.Error(), "malloc failed") {
		t.Errorf("allocating 4 EiB: %v", err)
	}
}
