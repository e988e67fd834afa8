//go:build !race

package arena

import (
	"errors"
	"runtime"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// Under RLIMIT_AS an arena becomes smaller, and the Go heap still gets memory.
func TestAddressSpaceLimit(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	limit := addressSpace(t) + 1<<30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	a := open(t, Config{Span: 64 << 30})
	if a.Span() < spanFloor || a.Span() > 512*mib {
		t.Errorf("span %d under a limit of 1 GiB", a.Span())
	}
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	heap := make([]byte, 256*mib) // the runtime crashes if it doesn't get it
	runtime.KeepAlive(heap)
	sixteen := nodes(t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	_, err := New(Config{Span: 64 << 30, Topology: sixteen})
	if !errors.Is(err, ErrReserve) || !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("16 nodes under a limit of 1 GiB: %v", err)
	}
}
