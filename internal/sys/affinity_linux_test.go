package sys

import (
	"errors"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

func affinity(t *testing.T) []uint64 {
	t.Helper()
	mask, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

func TestPin(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity(t)
	for cpu := range 64 * len(before) {
		if before[cpu/64]>>(cpu%64)&1 == 0 {
			continue
		}
		restore, err := Pin([]int{cpu})
		if err != nil {
			t.Fatal(err)
		}
		if at, _, err := CPU(); err != nil || at != cpu {
			t.Errorf("pinned to CPU %d and runs on %d (%v)", cpu, at, err)
		}
		if err := restore(); err != nil {
			t.Fatal(err)
		}
		if after := affinity(t); !slices.Equal(after, before) {
			t.Errorf("affinity %x became %x", before, after)
		}
	}
}

func TestPinRefusals(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, cpus := range [][]int{nil, {-1}, {0, maxCPUs}} {
		if _, err := Pin(cpus); !errors.Is(err, ErrCPU) {
			t.Errorf("Pin(%v): %v", cpus, err)
		}
	}
	for _, call := range []Call{CallAffinity, CallSetAffinity} {
		restore := FailNth(call, 1, syscall.EPERM)
		_, err := Pin([]int{0})
		restore()
		if !errors.Is(err, syscall.EPERM) {
			t.Errorf("with a failing %v: %v", call, err)
		}
	}
}
