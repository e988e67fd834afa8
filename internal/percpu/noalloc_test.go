//go:build !asan

package percpu

import (
	"testing"
	"unsafe"
)

// The address sanitizer has every address that is looked at escape to the heap.

func TestNoGoAllocation(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 60)
		pop := NewPop(func(uintptr) (unsafe.Pointer, error) { return nil, nil })
		free, ours := NewFree(func(*Filter, unsafe.Pointer) {}), filter(slots, Main, testOwn)
		if n := testing.AllocsPerRun(1000, func() {
			free(ours, object(1))
			pop(slots.Base())
		}); n != 0 {
			t.Errorf("a pair makes %v allocations", n)
		}
	})
}
