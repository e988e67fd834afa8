// Guards need cgo, and builds with a sanitizer have none.

//go:build linux && cgo && !race && !asan

package rcumap

import (
	"fmt"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// TestGuardRate: entries of a map with a GuardRate are guarded, as often as it says.
func TestGuardRate(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "rcumap-guard"})
	if err != nil {
		t.Fatal(err)
	}
	for rate, want := range map[int64]int64{1: 10, slub.None: 0} {
		m, err := New(Config{Arena: a, Domain: new(rcu.Domain), GuardRate: rate})
		if err != nil {
			t.Fatal(err)
		}
		before := slub.ReadGuardStats()
		for i := range 10 {
			if err := m.Put(fmt.Sprint(i), []byte("value")); err != nil {
				t.Fatal(err)
			}
		}
		after := slub.ReadGuardStats()
		if n := after.Allocated + after.Skipped - before.Allocated - before.Skipped; n != want {
			t.Errorf("GuardRate %d: %d of 10 entries were chosen for a guard", rate, n)
		}
		if value, found := get(m, "3"); !found || string(value) != "value" {
			t.Errorf("GuardRate %d: %q, %v", rate, value, found)
		}
		closeMap(t, m)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
