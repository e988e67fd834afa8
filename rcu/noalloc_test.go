//go:build !invariants && !race

package rcu

import (
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// The calls on hot paths allocate no Go memory. Builds with invariants record callers, and do.
func TestHotCallsAllocateNothing(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	d.Register("stuck")
	if n := testutil.GoAllocs(100, func() {
		d.Poll(d.Start())
		r.Quiescent()
		r.Offline()
		r.Enter()
		r.Exit()
		r.Online()
		d.Enter().Exit()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
