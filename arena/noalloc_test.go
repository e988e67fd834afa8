//go:build !asan

package arena

import (
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// It is not built with -asan, where checkptr makes the conversions of internal/mem allocate.
func TestNoGoAllocation(t *testing.T) {
	a := open(t, Config{})
	times := 100
	if heapBacked {
		times = 10 // a run that is allocated is cleared, and that of the largest order is 4 MiB
	}
	for order := range MaxOrder + 1 {
		n := testutil.GoAllocs(times, func() {
			if run, err := a.Alloc(order, 0); err == nil {
				a.Free(run.Page)
			}
		})
		if n != 0 {
			t.Errorf("%v Go allocations for each Alloc and Free of order %d", n, order)
		}
	}
}
