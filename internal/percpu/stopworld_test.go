package percpu

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestStopWorld: each call stops all goroutines, by Go's own metrics.
func TestStopWorld(t *testing.T) {
	before := pauses()
	for range 10 {
		stopWorld()
	}
	if n := pauses() - before; n < 10 || !worldStops() {
		t.Errorf("10 calls stopped the world %d times", n)
	}
}

// TestStressWithoutMembarrier is TestStress while the kernel refuses the barrier that LockCPU
// needs.
func TestStressWithoutMembarrier(t *testing.T) {
	defer sys.FailNth(sys.CallMembarrierRseq, 0, syscall.EPERM)()
	eachEngine(t, func(t *testing.T) { stress(t, plainOps, testutil.Stress(t, 1_000_000)) })
}

// TestNoFenceAtAll: if Go doesn't stop the world either, the fences say that they have not been
// done.
func TestNoFenceAtAll(t *testing.T) {
	worldStops()
	before := worldStops
	worldStops = func() bool { return false }
	defer func() { worldStops = before }()
	if err := stopTheWorldFence(syscall.EPERM); !errors.Is(err, syscall.EPERM) || !errors.Is(err, errWorldRuns) {
		t.Errorf("the error is %v", err)
	}
	r := NewReaders()
	defer sys.FailNth(sys.CallMembarrier, 0, syscall.EPERM)()
	// Where Enter is a barrier itself, Fence has nothing to do, and nothing is refused.
	if done, refused := r.Fence(); done == r.Fenced() || (refused != nil) != r.Fenced() {
		t.Errorf("a fence is done: %v, refused: %v, needed: %v", done, refused, r.Fenced())
	}
}
