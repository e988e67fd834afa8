//go:build !asan

package arena

import "testing"

// With -asan internal/mem's conversions allocate, for the sake of checkptr.
func TestNoGoAllocation(t *testing.T) {
	a := open(t, Config{})
	for order := range MaxOrder + 1 {
		n := testing.AllocsPerRun(100, func() {
			if run, err := a.Alloc(order, 0); err == nil {
				a.Free(run.Page)
			}
		})
		if n != 0 {
			t.Errorf("%v Go allocations for each Alloc and Free of order %d", n, order)
		}
	}
}
