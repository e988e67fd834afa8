package slub

import (
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

func TestSwitchesOfTheEnvironment(t *testing.T) {
	for on, values := range map[bool][]string{
		true:  {"1", "on", "ON", "true", "True", "yes", "Yes"},
		false: {"", "0", "off", "Off", "false", "FALSE", "no", "No"},
	} {
		for _, value := range values {
			if got, err := parseSwitch(value); got != on || err != nil {
				t.Errorf("a switch of %q is %t, %v", value, got, err)
			}
		}
	}
	for _, value := range []string{"2", "-1", "y", "enabled", " 1", "true,"} {
		if on, err := parseSwitch(value); on || err == nil {
			t.Errorf("a switch of %q is %t, %v", value, on, err)
		}
	}
}

func TestBytesOfTheEnvironment(t *testing.T) {
	const automatic = 7 << 20
	for value, want := range map[string]int64{
		"": automatic, "off": 0, "OFF": 0, "0": 0, "1": 1, "4096": 4096, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := parseBytes(value, automatic); got != want || err != nil {
			t.Errorf("%q are %d bytes, %v, want %d", value, got, err, want)
		}
	}
	for _, value := range []string{"-1", "on", "abc", "8M", "64K", "0x10", "1e6", "4096 ", "9223372036854775808"} {
		if got, err := parseBytes(value, automatic); got != automatic || err == nil {
			t.Errorf("%q are %d bytes, %v", value, got, err)
		}
	}
}

// A process says once which variables it ignores, and runs as if they were not set; it is hardened
// if SLUBD_HARDENED is not understood.
func TestEnvironmentIsIgnoredAloud(t *testing.T) {
	const neither = " is neither 1, on, true or yes nor 0, off, false or no\n"
	const noNumber = " is neither a number of bytes, such as 65536, nor off\n"
	says := []string{
		`SLUBD_HARDENED counts as 1: "ture"` + neither,
		`SLUBD_MERGE is ignored: "2"` + neither,
		`SLUBD_INIT_ON_FREE is ignored: "y"` + neither,
		`SLUBD_PROFILE_RATE is ignored: "64K"` + noNumber,
		`SLUBD_QUARANTINE is ignored: "abc"` + noNumber,
		`SLUBD_DEBUG_ACTION is ignored: "halt" is neither panic nor abort nor repair` + "\n",
	}
	if guardsPossible { // otherwise the variable is not read
		says = append(says, `SLUBD_GUARD is ignored: "-1"`+noNumber)
	}
	out, isChild, err := testutil.Rerun(t, "SLUBD_HARDENED=ture", "SLUBD_MERGE=2", "SLUBD_INIT_ON_FREE=y",
		"SLUBD_PROFILE_RATE=64K", "SLUBD_QUARANTINE=abc", "SLUBD_DEBUG=Q,waits", "SLUBD_DEBUG_ACTION=halt", "SLUBD_GUARD=-1")
	if isChild {
		open(t, nil, Config{Name: "waits", Size: 64})
		open(t, nil, Config{Name: "plain", Size: 64})
		if !Hardened() || mergeAll || clearAll {
			t.Errorf("hardened %t, merged %t, cleared %t", Hardened(), mergeAll, clearAll)
		}
		if ProfileRate() != defaultProfileRate || quarantineBytes() != defaultQuarantine {
			t.Errorf("a profile rate of %d, %d bytes wait", ProfileRate(), quarantineBytes())
		}
		if guardsPossible && processGuardRate() != defaultGuardRate {
			t.Errorf("a guard rate of %d", processGuardRate())
		}
		return
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, line := range says {
		if n := strings.Count(out, "slubd: "+line); n != 1 {
			t.Errorf("%d times %q in:\n%s", n, line, out)
		}
	}
	if n := strings.Count(out, "slubd: SLUBD_"); n != len(says) {
		t.Errorf("%d lines, want %d:\n%s", n, len(says), out)
	}
}

// What is understood has its effect, and prints nothing.
func TestEnvironmentIsHeeded(t *testing.T) {
	for name, c := range map[string]struct {
		env []string
		on  bool
	}{
		"words for on":  {[]string{"SLUBD_HARDENED=yes", "SLUBD_MERGE=On", "SLUBD_INIT_ON_FREE=true"}, true},
		"ones":          {[]string{"SLUBD_HARDENED=1", "SLUBD_MERGE=1", "SLUBD_INIT_ON_FREE=1"}, true},
		"words for off": {[]string{"SLUBD_HARDENED=false", "SLUBD_MERGE=no", "SLUBD_INIT_ON_FREE=OFF"}, false},
		"nothing":       {[]string{"SLUBD_HARDENED=", "SLUBD_MERGE=", "SLUBD_INIT_ON_FREE="}, false},
	} {
		t.Run(name, func(t *testing.T) {
			env := append(c.env, "SLUBD_PROFILE_RATE=4096", "SLUBD_QUARANTINE=8192", "SLUBD_GUARD=OFF", "SLUBD_DEBUG=Q,waits", "SLUBD_DEBUG_ACTION=")
			out, isChild, err := testutil.Rerun(t, env...)
			if isChild {
				open(t, nil, Config{Name: "waits", Size: 64})
				open(t, nil, Config{Name: "plain", Size: 64})
				if Hardened() != c.on || mergeAll != c.on || clearAll != c.on {
					t.Errorf("hardened %t, merged %t, cleared %t", Hardened(), mergeAll, clearAll)
				}
				if ProfileRate() != 4096 || quarantineBytes() != 8192 || processGuardRate() != 0 {
					t.Errorf("rates of %d and %d, %d bytes wait", ProfileRate(), processGuardRate(), quarantineBytes())
				}
				return
			}
			if err != nil || strings.Contains(out, "slubd: ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
