//go:build mistakes

package mistakes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
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
	engine  string // SLUBD_ENGINE, if one shows it sooner
}

const (
	members  = `^TestTorture$/^two_members$`
	visitors = `^TestTorture$/^two_visitors$`
	barrier  = `^TestBarrierMissesNothing$`
	fence    = `^TestReadersFence$/^membarrier$`
	freeRCU  = `^TestTortureFreeRCU$/^sheaves$`
	nodes    = `^TestTortureFreeRCU$/^four_nodes$`

	early   = `a grace period has ended early`
	stuck   = `a grace period doesn't end`
	missed  = `Barrier returned after`
	tooSoon = `freed too early`
	reused  = `handed out in stage 2`
)

var catches = []catch{
	{"WaitSkipped", "rcu", members, early, ""},
	{"PollEarly", "rcu", members, early, ""},
	{"StartJoins", "rcu", members, early, ""},
	{"ReaderMissed", "rcu", members, early, ""},
	{"HolderTrusted", "rcu", members, early, ""},
	{"ReportTooFar", "rcu", members, early, ""},
	{"OnlineUnannounced", "rcu", members, early, ""},
	{"ListEditedInPlace", "rcu", members, early + `|nil pointer dereference`, ""},
	{"SequenceReadLate", "rcu", members, early, ""},
	{"ComparedUnsigned", "rcu", members, early + `|` + stuck + `|test timed out`, ""},

	{"SectionsForgotten", "rcu", visitors, early, ""},
	{"FirstDrainSkipped", "rcu", visitors, early, "trylock"},
	{"FlipForgotten", "rcu", visitors, early, ""},
	{"SecondDrainSkipped", "rcu", visitors, early, ""},
	{"GoalReadLate", "rcu", visitors, early, ""},
	{"RowMissed", "rcu", visitors, early + `|` + stuck + `|more Exits than Enters`, ""},
	{"ExitsReadLast", "internal/percpu", `^TestReadersOpen$`, `though one is open`, ""},
	{"FenceDropped", "internal/percpu", fence, `not counted`, ""},

	{"CallbackEarly", "rcu", members, early, ""},
	{"BarrierMissesCPUs", "rcu", barrier, missed, ""},
	{"BarrierSkipsEmpty", "rcu", barrier, missed, ""},

	{"SheafReadyEarly", "slub", freeRCU, tooSoon, ""},
	{"SheafUnstamped", "slub", freeRCU, tooSoon, ""},
	{"CPUMissed", "slub", freeRCU, missed, ""},
	{"ExpiringMissed", "slub", freeRCU, missed, ""},
	{"DestructorSkipped", "slub", freeRCU, reused, ""},
	{"FreedAtOnce", "slub", nodes, tooSoon + `|` + reused, ""},
}

// patience is how long a mistake may stay unnoticed, and what the tests are given
// to do meanwhile is more than they can.
const (
	patience = time.Minute
	hang     = 30 * time.Second // until the test's process says that it hangs
	plenty   = "SLUBD_STRESS_OPS=4000000000"
)

// TestEachMistakeIsCaught builds the tests of each package and runs the one that
// must fail, once for each mistake, and without any, when it must pass.
func TestEachMistakeIsCaught(t *testing.T) {
	for _, pkg := range []string{"rcu", "internal/percpu", "slub"} {
		exe := filepath.Join(t.TempDir(), path.Base(pkg)+".test")
		if out, err := exec.Command("go", "test", "-c", "-tags", "mistakes", "-o", exe, "../../"+pkg).CombinedOutput(); err != nil {
			t.Fatalf("building the tests of %s: %v\n%s", pkg, err, out)
		}
		sound := map[string]bool{} // tests that have passed without a mistake
		for _, c := range catches {
			if c.pkg != pkg {
				continue
			}
			if alone := c.test + c.engine; !sound[alone] {
				sound[alone] = true
				t.Run("none "+alone, func(t *testing.T) {
					if out, err := c.run(t, exe, "SLUBD_MISTAKE="); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
			t.Run(c.mistake, func(t *testing.T) { c.mustFail(t, exe) })
		}
	}
}

// mustFail runs the test with the mistake.
func (c catch) mustFail(t *testing.T, exe string) {
	start := time.Now()
	out, err := c.run(t, exe, "SLUBD_MISTAKE="+c.mistake, plenty)
	switch {
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s doesn't fail (%v)", c.test, err)
	case !regexp.MustCompile(c.says).Match(out):
		t.Errorf("%s ends with %v, but doesn't say %q:\n%s", c.test, err, c.says, out)
	default:
		t.Logf("%.1f s: %s", time.Since(start).Seconds(), reason.Find(out))
	}
}

// reason matches the line that says why a test failed, or the process crashed.
var reason = regexp.MustCompile(`(?m)(a grace period|a reader|Barrier|round|\d+ sections|0x\w+ was) .*$|^panic:.*$`)

// run runs the test in this environment and some more, for patience at most, which
// the error says then.
func (c catch) run(t *testing.T, exe string, env ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run", c.test, "-test.v", "-test.timeout", hang.String())
	cmd.Env = append(os.Environ(), env...)
	if c.engine != "" {
		cmd.Env = append(cmd.Env, "SLUBD_ENGINE="+c.engine)
	}
	out, err := cmd.CombinedOutput()
	return out, cmp.Or(ctx.Err(), err)
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
	out, err := catch{test: "^$"}.run(t, exe, "SLUBD_MISTAKE=Misspelt")
	if err == nil || !bytes.Contains(out, []byte("Misspelt names no mistake")) {
		t.Errorf("ended with %v, printing %s", err, out)
	}
}
