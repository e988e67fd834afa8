package slub

import "testing"

// GuardMode tells why nothing is guarded. A build that can't guard ignores a GuardRate.
func TestGuardMode(t *testing.T) {
	mode, reason := GuardMode()
	if (mode == "on") != (reason == "") {
		t.Errorf("guards are %s: %q", mode, reason)
	}
	if guardsPossible {
		return
	}
	if mode != "off" || reason != "needs Linux and cgo" && reason != "the build has a sanitizer" {
		t.Errorf("guards are %s: %q", mode, reason)
	}
	c := open(t, nil, Config{Size: 64, GuardRate: 1})
	if c.guards() {
		t.Error("the cache guards objects")
	}
}
