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

func TestRatesOfTheEnvironment(t *testing.T) {
	const automatic = 7 << 20
	for value, want := range map[string]int64{"": automatic, "off": 0, "0": 0, "4096": 4096, "-1": automatic, "on": automatic} {
		if got := parseRate(value, automatic); got != want {
			t.Errorf("a rate of %q is %d, want %d", value, got, want)
		}
	}
	for value, want := range map[string]bool{"": false, "0": false, "off": false, "1": true, "yes": true} {
		if got := hardensAll(value); got != want {
			t.Errorf("SLUBD_HARDENED=%q hardens: %v", value, got)
		}
	}
}
