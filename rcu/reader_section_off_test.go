//go:build !invariants && !race

package rcu

import "testing"

// TestOfflineEndsSections: a section that Offline has ended doesn't keep a later one from ending.
// Builds with invariants panic at that Offline.
func TestOfflineEndsSections(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	r.Enter()
	r.Offline()
	r.Enter()
	r.Exit()
	if !d.Poll(d.Start()) {
		t.Error("the reader is still online")
	}
}

// TestPlainEnterIsFenced: a reader's Enter is a plain store only in a domain whose grace periods
// have every thread execute a memory barrier.
func TestPlainEnterIsFenced(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	r.Offline()
	r.Enter()
	r.Exit()
	s := d.sections.Load()
	if fenced := s != nil && s.counts.Fenced(); (r.plain == uint64(offline)) != fenced {
		t.Errorf("word %#x is replaced by a plain store; fenced %v", r.plain, fenced)
	}
}
