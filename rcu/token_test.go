package rcu

import (
	"testing"
)

func TestNoReadersNoWait(t *testing.T) {
	var d Domain
	if token := d.Start(); !d.Poll(token) {
		t.Error("an empty domain has not ended its grace period at once")
	}
	d.Register("asleep").Offline()
	if token := d.Start(); !d.Poll(token) {
		t.Error("an offline reader was waited for")
	}
}

func TestZeroTokenIsOver(t *testing.T) {
	var d Domain
	d.Register("reader")
	for range 50 { // past wrap-around in builds with invariants
		d.Start()
		if !d.Poll(0) {
			t.Fatal("the zero Token names a grace period")
		}
	}
}

// TestEarlierTokensShareTheEnd: one look at the readers ends all grace periods that they have seen.
func TestEarlierTokensShareTheEnd(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	first, second := d.Start(), d.Start()
	r.Quiescent()
	third := d.Start()
	if d.Poll(third) || !d.Poll(second) || d.Stats().GracePeriods != 1 {
		t.Fatal("the reader has seen the second start, not the third")
	}
	r.Offline()
	r.Online() // the first two grace periods don't wait for what it does now
	if !d.Poll(first) || d.Stats().GracePeriods != 1 {
		t.Error("the end of the first grace period was not shared")
	}
}

// TestSlowReadersTakeTurns: the hint that saves scans names one reader. When that one reports, the
// next must be found.
func TestSlowReadersTakeTurns(t *testing.T) {
	var d Domain
	var readers []*Reader
	for range 5 {
		readers = append(readers, d.Register("slow"))
	}
	token := d.Start()
	for _, r := range readers {
		if d.Poll(token) {
			t.Fatal("over before every reader has reported")
		}
		r.Quiescent()
	}
	if !d.Poll(token) {
		t.Error("not over, though every reader has reported")
	}
}
