package percpu

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestStopWorld: each call stops all goroutines, by this Go's own account.
func TestStopWorld(t *testing.T) {
	before := pauses()
	for range 10 {
		stopWorld()
	}
	if n := pauses() - before; n < 10 || !worldStops() {
		t.Errorf("10 calls stopped the world %d times", n)
	}
}

// TestStormWithoutMembarrier is TestStorm where the kernel has come to refuse the barrier
// that LockCPU needs.
func TestStormWithoutMembarrier(t *testing.T) {
	defer sys.FailNth(sys.CallMembarrierRseq, 0, syscall.EPERM)()
	eachEngine(t, func(t *testing.T) { storm(t, testutil.Stress(t, 1_000_000)) })
}

// TestNeitherWay: a Go that doesn't stop the world either leaves nothing to promise.
func TestNeitherWay(t *testing.T) {
	worldStops()
	before := worldStops
	worldStops = func() bool { return false }
	defer func() { worldStops = before }()
	if err := instead(syscall.EPERM); !errors.Is(err, syscall.EPERM) || !errors.Is(err, errWorldRuns) {
		t.Errorf("the error is %v", err)
	}
	r := NewReaders()
	defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
	if done, refused := r.Fence(); done != (refused == nil) {
		t.Errorf("a fence is done: %v, refused: %v", done, refused)
	}
}
