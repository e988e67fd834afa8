package loops

import (
	"errors"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestHeapObjectSizes(t *testing.T) {
	for name, size := range map[string]uintptr{
		"object": unsafe.Sizeof(object{}), "node": unsafe.Sizeof(node{}), "refNode": unsafe.Sizeof(refNode{}),
	} {
		if size != workload.HeapSize {
			t.Errorf("%s takes %d bytes", name, size)
		}
	}
}

func TestPopulationsSurviveCollection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // Build turns it off
	const live = 10_000
	objects, maps := []workload.Kind{workload.GC, workload.GCLinked}, []workload.Kind{workload.GCMap}
	for alloc, kinds := range map[string][]workload.Kind{
		workload.Slubd: append(objects, maps...), workload.Go: objects, workload.SyncMap: maps, workload.Sharded: maps,
	} {
		for _, kind := range kinds {
			p, err := Build(alloc, kind, live)
			if err != nil {
				t.Fatalf("%s, %s: %v", kind, alloc, err)
			}
			s := p.Collect()
			if s.Value <= 0 || s.Extra["mark_cpu_ms"] <= 0 || s.Extra["pause_ms"] <= 0 {
				t.Errorf("%s, %s: an empty collection: %+v", kind, alloc, s)
			}
			if err := p.Check(live); err != nil {
				t.Errorf("%s, %s: %v", kind, alloc, err)
			}
			if err := p.Check(live + 1); !errors.Is(err, errLost) {
				t.Errorf("%s, %s: a missing object is not reported: %v", kind, alloc, err)
			}
		}
	}
}

func TestHeapsOfUnknownAllocators(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	if _, err := Build(workload.Pool, workload.GC, 1); err == nil {
		t.Error("Build: no error for sync.Pool")
	}
	if _, err := Resident(workload.Pool, 1); err == nil {
		t.Error("Resident: no error for sync.Pool")
	}
}

func TestResidentSample(t *testing.T) {
	const live, payload = 1000, 1000 * workload.HeapSize
	s := residentSample([4]uint64{500, 500 + 2*payload, 500 + payload/2, 400}, live)
	if s.Value != 2 || s.Extra["left_of_peak"] != 0.25 || s.Extra["left_after_purge"] != 0 {
		t.Errorf("a peak of twice the payload, of which a quarter stays until the purge: %+v", s)
	}
}
