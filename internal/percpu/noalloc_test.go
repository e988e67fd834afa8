//go:build !asan

package percpu

import (
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// With the address sanitizer every variable whose address is taken escapes to the heap.

func TestNoGoAllocation(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 60)
		pop, free := newPop(slots, Main, noPop), newFree(filter(slots, Main, testOwn), noFree)
		if n := testutil.GoAllocs(1000, func() {
			free(object(1))
			_, _ = pop()
		}); n != 0 {
			t.Errorf("a free and a pop make %v allocations", n)
		}
		ops := sliceOps()
		ours := filter(slots, Main, testOwn)
		pop, free = ops.pop(slots, ours), ops.free(ours, noFree)
		if n := testutil.GoAllocs(1000, func() {
			free(object(1))
			_, _ = pop()
		}); n != 0 {
			t.Errorf("a free and a pop of slices make %v allocations", n)
		}
	})
}
