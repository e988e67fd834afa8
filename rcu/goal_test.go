package rcu

import (
	"testing"

	"github.com/slubd/slubd/internal/invariants"
)

// TestGoalComesBeforeFence: a grace period that is started after the fence of another one doesn't
// end with it. Sections that the fence has not made visible may have found what its writer
// unlinked.
func TestGoalComesBeforeFence(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	var d Domain
	d.Enter().Exit()
	var late Token
	end := invariants.Interrupt(func(p invariants.Point) {
		if p == invariants.Fenced && late == 0 {
			late = d.Start()
		}
	})
	defer end()
	early := d.Start()
	if !d.Poll(early) || late == 0 {
		t.Fatalf("the first is not over, the second is %#x", late)
	}
	if d.PollNoAdvance(late) {
		t.Error("a grace period that was started after the fence is over with the first")
	}
	if !d.Poll(late) {
		t.Error("the second never ends")
	}
}
