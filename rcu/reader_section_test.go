package rcu

import "testing"

// TestReaderSections: a grace period waits for a section of a registered reader, and for the outer
// one where sections nest. A reader that is online stays so beyond Exit.
func TestReaderSections(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	over := func(want bool, when string) {
		t.Helper()
		token := d.Start()
		for range 3 { // a grace period of sections may take some steps
			d.Advance()
		}
		if got := d.Poll(token); got != want {
			t.Errorf("%s: over %v, want %v", when, got, want)
		}
	}
	r.Offline()
	for _, when := range []string{"first", "second"} { // the first makes the domain's counters
		over(true, "before the "+when)
		r.Enter()
		over(false, "in the "+when)
		r.Enter()
		r.Exit()
		over(false, "after a section in the "+when)
		r.Exit()
		over(true, "after the "+when)
	}
	r.Online()
	r.Enter()
	r.Exit()
	over(false, "online, after a section")
	r.Offline()
	over(true, "offline")
	r.Enter()
	r.Exit()
	over(true, "after a section, offline again")
	_ = r.Close()
	wantPanic(t, "Enter after Close", r.Enter)
}
