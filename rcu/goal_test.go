package rcu

import (
	"testing"

	"github.com/slubd/slubd/internal/invariants"
)

// TestGoalComesBeforeFence: a grace period that is started after the fence of another is
// not over with that one. What its writer unlinked, sections which the fence has not shown
// may have found.
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
	if d.Elapsed(late) {
		t.Error("one that was started after the fence is over with the first")
	}
	if !d.Poll(late) {
		t.Error("the second never ends")
	}
}
