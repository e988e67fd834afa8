//go:build mistakes

package mistakes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// A catch is the test that a mistake must make fail, and how it must fail: not
// because it hangs or for a reason of its own.
type catch struct {
	mistake string
	pkg     string // that has the test
	test    string // pattern of go test -run
	says    string // pattern of what it prints
}

const (
	early   = `a grace period has ended early`
	torture = `^TestTorture$`
	barrier = `^TestBarrierMissesNothing$`
	freeRCU = `^TestTortureFreeRCU$`
	nodes   = `^TestTortureFreeRCU$/^four_nodes$`
	missed  = `Barrier returned after`
	freed   = `freed too early`
)

var catches = []catch{
	{"WaitSkipped", "rcu", torture, early},
	{"PollEarly", "rcu", torture, early},
	{"StartJoins", "rcu", torture, early},
	{"ReaderMissed", "rcu", torture, early},
	{"HolderTrusted", "rcu", torture, early},
	{"ReportTooFar", "rcu", torture, early},
	{"OnlineUnannounced", "rcu", torture, early},
	{"ListEditedInPlace", "rcu", torture, early + `|nil pointer dereference`},
	{"SequenceReadLate", "rcu", torture, early},
	{"ComparedUnsigned", "rcu", torture, `a grace period doesn.t end`},
	{"CallbackEarly", "rcu", torture, early},
	{"BarrierDuringLast", "rcu", barrier, missed},
	{"SheafReadyEarly", "slub", freeRCU, freed},
	{"SheafUnstamped", "slub", freeRCU, freed},
	{"ParkedUnlocked", "slub", freeRCU, missed},
	{"CPUMissed", "slub", freeRCU, missed},
	{"ExpiringMissed", "slub", freeRCU, missed},
	{"DestructorSkipped", "slub", freeRCU, `handed out in stage 2`},
	{"FreedAtOnce", "slub", nodes, freed + `|handed out in stage 2`},
}

// patience is how long a mistake may stay unnoticed, and what the tests are given
// to do meanwhile is more than they can.
const (
	patience = time.Minute
	plenty   = "SLUBD_STRESS_OPS=4000000000"
)

// TestEachMistakeIsCaught builds the tests of each package and runs the one that
// must fail, once for each mistake, and once without any, when it must pass.
func TestEachMistakeIsCaught(t *testing.T) {
	dir := t.TempDir()
	binaries := map[string]string{}
	for _, c := range catches {
		exe := binaries[c.pkg]
		if exe == "" {
			exe = filepath.Join(dir, c.pkg+".test")
			binaries[c.pkg] = exe
			if out, err := exec.Command("go", "test", "-c", "-tags", "mistakes", "-o", exe, "../../"+c.pkg).CombinedOutput(); err != nil {
				t.Fatalf("building the tests of %s: %v\n%s", c.pkg, err, out)
			}
			t.Run("none in "+c.pkg, func(t *testing.T) {
				var tests string
				for _, other := range catches {
					if other.pkg == c.pkg {
						tests += "|" + other.test
					}
				}
				if out, err := run(t, exe, tests[1:], "SLUBD_MISTAKE="); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		t.Run(c.mistake, func(t *testing.T) {
			start := time.Now()
			out, err := run(t, exe, c.test, "SLUBD_MISTAKE="+c.mistake, plenty)
			switch {
			case err == nil || errors.Is(err, context.DeadlineExceeded):
				t.Errorf("%s doesn't fail (%v)", c.test, err)
			case !regexp.MustCompile(c.says).Match(out):
				t.Errorf("%s ends with %v, but doesn't say %q:\n%s", c.test, err, c.says, out)
			default:
				t.Logf("caught by %s.%s in %.1f s", c.pkg, failed(out), time.Since(start).Seconds())
			}
		})
	}
}

// run runs tests of a binary in this environment and some more, for patience at
// most, which the error says then.
func run(t *testing.T, exe, tests string, env ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run", tests, "-test.v", "-test.failfast")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return out, cmp.Or(ctx.Err(), err)
}

// failed names the test that failed, or "a crash".
func failed(out []byte) string {
	m := regexp.MustCompile(`--- FAIL: (\S+)`).FindSubmatch(out)
	if m == nil {
		return "a crash"
	}
	return string(m[1])
}

// Every mistake has its catch.
func TestCatchesAreComplete(t *testing.T) {
	var have []string
	for _, c := range catches {
		have = append(have, c.mistake)
	}
	if !slices.Equal(have, known) {
		t.Errorf("catches for %v\nof mistakes %v", have, known)
	}
}

func TestUnknownMistakeIsRefused(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, exe, "^$", "SLUBD_MISTAKE=Misspelt")
	if err == nil || !bytes.Contains(out, []byte("Misspelt names no mistake")) {
		t.Errorf("ended with %v, printing %s", err, out)
	}
}
