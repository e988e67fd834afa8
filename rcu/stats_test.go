package rcu

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		r, idle := d.Register("slow"), d.Register("idle")
		idle.Offline()
		d.Defer(func() {})
		synctest.Wait() // the worker has taken it: the others need another grace period
		d.DeferN(60, func() {})
		d.DeferN(-1, func() {}) // counts as 1
		time.Sleep(time.Second)
		got := d.Stats()
		id := got.ID
		// The worker found the slow reader before its first sleep.
		want := Stats{ID: id, Pending: 3, PendingObjects: 62, Readers: 2, Online: 1, OldestReader: time.Second, OldestName: "slow", OldestPlace: got.OldestPlace}
		if !strings.Contains(got.OldestPlace, "stats_test.go:") || got != want {
			t.Errorf("with a slow reader: %+v, want %+v", got, want)
		}
		r.Offline()
		barrier(t, &d)
		got = d.Stats()
		want = Stats{ID: id, GracePeriods: 2, Callbacks: 3, Readers: 2, GracePeriodTimes: got.GracePeriodTimes}
		if h := got.GracePeriodTimes; h.Count != 1 || h.Sum < time.Second {
			t.Errorf("one grace period took a second: %d in %v", h.Count, h.Sum)
		}
		if got != want {
			t.Errorf("after its report: %+v, want %+v", got, want)
		}
	})
}

// TestDomainsAreToldApart: domains keep different numbers, and show their names if they have any.
func TestDomainsAreToldApart(t *testing.T) {
	a, b := Domain{Name: "a"}, new(Domain)
	first, second := a.Stats(), b.Stats()
	if first.Name != "a" || first.ID == 0 || second.ID == 0 || first.ID == second.ID {
		t.Errorf("%q %d and %q %d", first.Name, first.ID, second.Name, second.ID)
	}
	if again := a.Stats(); again != first {
		t.Errorf("%+v, before %+v", again, first)
	}
}

// TestOldestReader: Stats names the reader that has held up a grace period for the longest time. A
// report, even a late one, starts a reader's time again.
func TestOldestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Domain
		d.OnStall(-1, nil)
		first, second := d.Register("first"), d.Register("second")
		wantOldest := func(age time.Duration, name string) {
			t.Helper()
			if s := d.Stats(); s.OldestReader != age || s.OldestName != name {
				t.Errorf("oldest reader %q for %v, want %q for %v", s.OldestName, s.OldestReader, name, age)
			}
		}
		wantOldest(0, "") // online, but no grace period has been started
		d.Start()
		second.Quiescent()
		wantOldest(0, "first")
		time.Sleep(time.Minute)
		d.Start()
		wantOldest(time.Minute, "first")
		time.Sleep(time.Minute)
		wantOldest(2*time.Minute, "first")
		first.Quiescent()
		d.Start()
		wantOldest(time.Minute, "second")
		second.Close()
		wantOldest(0, "first")
		first.Offline()
		wantOldest(0, "")
	})
}
