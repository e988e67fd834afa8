package loops

import (
	"errors"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// TestAccountIsCharged: each object of account comes from an Account, and none of buckets does.
func TestAccountIsCharged(t *testing.T) {
	const ops = 1000
	for _, c := range []struct {
		kind workload.Kind
		want uint64
	}{{workload.Buckets, 0}, {workload.Account, 2 * ops}} {
		spec := workload.Spec{Kind: c.kind, Threads: 2, Size: 64, Ops: ops}
		s, err := Open(workload.Slubd, spec)
		if err != nil {
			t.Fatal(err)
		}
		before := allocationsOfAccounts()
		_, err = s.Run(spec)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if n := allocationsOfAccounts() - before; n != c.want {
			t.Errorf("%s: %d objects come from an Account, want %d", c.kind, n, c.want)
		}
	}
}

// allocationsOfAccounts counts what the caches have handed out from which Accounts allocate.
func allocationsOfAccounts() (n uint64) {
	for c := range slub.Caches() {
		if strings.Contains(c.Name(), "-cg-") {
			s := c.Stats()
			n += s.Events[slub.AllocFastpath] + s.Events[slub.AllocSlowpath]
		}
	}
	return n
}
