package slub_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// The first Malloc may fail because the kernel refuses to map memory. The next one tries again.
func TestDefaultBucketsTryAgain(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	_, err := slub.Malloc(100)
	restore()
	if !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("the kernel refuses: %v", err)
	}
	p, err := slub.Malloc(100)
	if err != nil {
		t.Fatalf("the kernel no longer refuses: %v", err)
	}
	slub.Free(p)
}
