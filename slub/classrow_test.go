package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// Free finds the stacks of all size classes by one sequence: they lie side by side, in
// the order of their owner words.
func TestClassesLieInARow(t *testing.T) {
	if percpu.Engine() != "rseq" || sanitized {
		t.Skip("Free is its slow path")
	}
	b := openBuckets(t, nil, BucketsConfig{})
	filters := make([]percpu.Filter, len(b.caches))
	for i, c := range b.caches {
		filters[i] = c.free.Filter
	}
	var slow []unsafe.Pointer
	var free percpu.FreeByOwner
	free.Init(func(p unsafe.Pointer) { slow = append(slow, p) })
	free.Fill(b.firstID, filters)
	for i, size := range classSizes {
		free.Func()(malloc(t, b, int(size)))
		if len(slow) > 0 {
			t.Fatalf("class %d of %d, of %d bytes, takes the slow path", i, len(classSizes), size)
		}
	}
}
