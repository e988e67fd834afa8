//go:build !asan

package percpu

import (
	"testing"
)

// The address sanitizer has every address that is looked at escape to the heap.

func TestNoGoAllocation(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 60)
		pop, free := newPop(slots, Main, nothing), newFree(filter(slots, Main, testOwn), noFree)
		if n := testing.AllocsPerRun(1000, func() {
			free(object(1))
			_, _ = pop()
		}); n != 0 {
			t.Errorf("a pair makes %v allocations", n)
		}
	})
}
