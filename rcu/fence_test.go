package rcu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// TestFenceShowsEnters is the litmus test of store buffering. A section's first load may be done
// before other CPUs can see its Enter, and then only the Fence of a grace period makes the updater
// see it. Right before Enter the reader stores to cache lines that the updater keeps taking from
// it. Enter's store then waits behind them in the store buffer, while the load that follows
// doesn't.
func TestFenceShowsEnters(t *testing.T) {
	t.Run("Domain", func(t *testing.T) {
		var d Domain
		var s Section
		fenceShowsEnters(t, &d, func() { s = d.Enter() }, func() { s.Exit() })
	})
	t.Run("Reader", func(t *testing.T) {
		var d Domain
		r := d.Register("reader")
		r.Offline()
		fenceShowsEnters(t, &d, r.Enter, r.Exit)
	})
}

func fenceShowsEnters(t *testing.T, d *Domain, enter, exit func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	type element struct{ dead atomic.Bool }
	var busy [8]struct {
		n uint64
		_ [padding]byte
	}
	var current atomic.Pointer[element]
	var early, over atomic.Int64
	current.Store(new(element))
	enter()
	exit()
	var wg sync.WaitGroup
	wg.Go(func() {
		for over.Load() == 0 {
			for i := range busy {
				storePlain(&busy[i].n)
			}
			enter()
			e := current.Load()
			for range 400 { // for as long as a grace period takes that sees no section
				if e.dead.Load() {
					early.Add(1)
					break
				}
			}
			exit()
		}
	})
	// A grace period takes some microseconds. Without its Fence it takes far less, so that more fit
	// into the time.
	for end := time.Now().Add(time.Duration(testutil.Stress(t, 300_000)) * 5 * time.Microsecond); time.Now().Before(end); {
		for i := range busy {
			storePlain(&busy[i].n)
		}
		old := current.Swap(new(element))
		for token := d.Start(); !d.Poll(token); {
		}
		old.dead.Store(true)
	}
	over.Add(1)
	wg.Wait()
	if n := early.Load(); n > 0 {
		t.Errorf("%d sections held an element after its grace period", n)
	}
}
