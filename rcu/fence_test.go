package rcu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// TestFenceShowsEnters is the store-buffer litmus test: a section's first load may be done
// before its Enter can be seen elsewhere, and then only the Fence of a grace period tells the
// updater of it. The reader stores to lines that the updater keeps taking from it right before
// Enter, which then waits behind them in the store buffer, while the load that follows doesn't.
func TestFenceShowsEnters(t *testing.T) {
	defer runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	type element struct{ dead atomic.Bool }
	var d Domain
	var busy [8]struct {
		n uint64
		_ [padding]byte
	}
	var current atomic.Pointer[element]
	var early, over atomic.Int64
	current.Store(new(element))
	d.Enter().Exit()
	var wg sync.WaitGroup
	wg.Go(func() {
		for over.Load() == 0 {
			for i := range busy {
				storePlain(&busy[i].n)
			}
			s := d.Enter()
			e := current.Load()
			for range 400 { // as long as a grace period that sees no section
				if e.dead.Load() {
					early.Add(1)
					break
				}
			}
			s.Exit()
		}
	})
	// Some microseconds each: what breaks without the Fence is faster by far, and gets more.
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
