//go:build race

package slub_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// kept is set and read without an order between the goroutines, which would hide the mistake.
var kept bool

//go:norace
func setKept() { kept = true }

//go:norace
func isKept() bool { return kept }

// A reader that keeps an object beyond its section is found by the race detector: FreeRCU's
// reclaim, behind the grace period, counts as a write to the object. A reader that is done with it
// before Exit is not.
func TestKeptBeyondSection(t *testing.T) {
	for name, beyond := range map[string]bool{"kept beyond": true, "within": false} {
		t.Run(name, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t)
			if isChild {
				readAndFree(t, beyond)
				return
			}
			if found := strings.Contains(out, "DATA RACE"); found != beyond || (err != nil) != beyond {
				t.Errorf("a report: %t, want %t: %v\n%s", found, beyond, err, out)
			}
			if beyond && (!strings.Contains(out, "slub_test.readKept") || !strings.Contains(out, "Barrier")) {
				t.Errorf("the report does not name both sides:\n%s", out)
			}
		})
	}
}

func readAndFree(t *testing.T, beyond bool) {
	var d rcu.Domain
	c := open(t, nil, slub.Config{Size: 64, Domain: &d})
	var published rcu.Pointer[int]
	obj := (*int)(take(t, c, 1)[0])
	*obj = 1
	published.Store(obj)
	go func() {
		readKept(&d, &published, beyond)
		setKept()
	}()
	for !isKept() {
		runtime.Gosched()
	}
	c.FreeRCU(unsafe.Pointer(published.Swap(nil)))
	same(t, "Barrier", c.Barrier(context.Background()), nil)
}

// readKept reads an object in a section, or behind it.
//
//go:noinline
func readKept(d *rcu.Domain, from *rcu.Pointer[int], beyond bool) (got int) {
	s := d.Enter()
	p := from.Load()
	if !beyond {
		got = *p
	}
	s.Exit()
	if beyond {
		got = *p
	}
	return got
}
