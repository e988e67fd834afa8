package rcu

import (
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// TestFirstEnterBesidePolls has the first Enter make the sections while other goroutines look for
// the ends of grace periods. Builds with invariants check the equations of Domain.
func TestFirstEnterBesidePolls(t *testing.T) {
	for range testutil.Stress(t, 200_000) / 100 {
		var d Domain
		var wg sync.WaitGroup
		start := make(chan bool)
		for range 3 {
			wg.Go(func() {
				<-start
				for range 20 {
					d.Poll(d.Start())
				}
			})
		}
		wg.Go(func() {
			<-start
			s := d.Enter()
			for range 3 {
				d.Poll(d.Start())
			}
			s.Exit()
		})
		close(start)
		wg.Wait()
		if !d.Poll(d.Start()) {
			t.Fatal("a grace period without readers is not over")
		}
	}
}
