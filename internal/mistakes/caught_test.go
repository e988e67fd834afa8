package mistakes

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var wanted = flag.String("mistake", "", "the mistake to make, or all")

// patience is how long a mistake may stay unnoticed, and what the tests are given
// to do meanwhile is more than they can.
const (
	patience = time.Minute
	hang     = 50 * time.Second // until the test's process says that it hangs
	plenty   = "SLUBD_STRESS_OPS=4000000000"
)

// attempts is how often a test is run before a mistake counts as not caught. Some mistakes show
// only in orders of events that a run may not meet; without a mistake, one run must pass.
const attempts = 3

// TestEachIsCaught runs the tests that must fail with the mistakes that -mistake names,
// once with each of them, and once as the code is, when they must pass.
func TestEachIsCaught(t *testing.T) {
	if *wanted == "" {
		t.Skip("takes minutes: make mistakes")
	}
	chosen, err := choose(*wanted)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(t.ArtifactDir())
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	suites := map[string]*suite{} // by test binary; without a mistake, all of a suite is built
	reduced := map[test]map[string][]byte{}
	for _, m := range chosen {
		exe := file(filepath.Base(m.test.pkg) + m.test.tag + ".test")
		if suites[exe] == nil {
			if suites[exe], err = parseSuite(filepath.Join(root, m.test.pkg), m.test.tag); err != nil {
				t.Fatal(err)
			}
			m.test.build(t, exe)
		}
		if reduced[m.test] == nil {
			if reduced[m.test], err = suites[exe].reduced(m.test.name()); err != nil {
				t.Fatal(err)
			}
			t.Run("none, "+m.test.pattern, func(t *testing.T) { m.test.mustPass(t, exe) })
		}
	}
	// All are built before the first is run: the tests want the CPUs for themselves.
	built := t.Run("build", func(t *testing.T) {
		for _, m := range chosen {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				overlay := m.overlay(t, file(m.name), reduced[m.test])
				m.test.build(t, file(m.name+".test"), "-overlay", overlay)
			})
		}
	})
	if !built {
		return
	}
	for _, m := range chosen {
		t.Run(m.name, func(t *testing.T) { m.mustBeCaught(t, file(m.name+".test")) })
	}
}

// build makes the test binary of the test's package.
func (tt test) build(t *testing.T, exe string, flags ...string) {
	// It is quicker without what debuggers read, and vet has seen the code without a mistake.
	args := append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", exe}, flags...)
	if tt.tag != "" {
		args = append(args, "-tags", tt.tag)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+tt.pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the tests of %s: %v\n%s", tt.pkg, err, out)
	}
}

// overlay writes m's files to a new directory, and beside them the description of an overlay with
// them, for the go command. It returns the path of another description, which has files of tests
// too. Those that are nil are absent from the build.
func (m mistake) overlay(t *testing.T, dir string, tests map[string][]byte) string {
	texts, err := m.apply()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		name = filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(name, text, 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	places := map[string]string{}
	place := func(path, with string) {
		original, err := filepath.Abs(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		places[original] = with
	}
	describe := func(name string) string {
		text, err := json.Marshal(map[string]any{"Replace": places})
		if err != nil {
			t.Fatal(err)
		}
		return write(name, text)
	}
	for path, text := range texts {
		place(path, write(path, []byte(text)))
	}
	describe("overlay.json")
	for name, text := range tests {
		path := filepath.Join(m.test.pkg, name)
		if text == nil {
			place(path, "")
		} else {
			place(path, write(path, text))
		}
	}
	return describe("reduced.json")
}

// mustBeCaught runs the test with the mistake, attempts times at most.
func (m mistake) mustBeCaught(t *testing.T, exe string) {
	says := regexp.MustCompile(`.*(?:` + m.says + `).*`)
	for i := 1; i <= attempts; i++ {
		began := time.Now()
		out, err := m.test.run(t, exe, plenty)
		took := time.Since(began).Seconds()
		line := says.Find(out)
		switch {
		case err == nil && bytes.Contains(out, noWatch):
			t.Skipf("%s", noWatch)
		case err == nil || errors.Is(err, context.DeadlineExceeded):
			t.Logf("run %d of %d, %.1f s: %s doesn't fail (%v)", i, attempts, took, m.test.pattern, err)
		case line == nil:
			t.Logf("run %d of %d, %.1f s: %s ends with %v, but doesn't say %q:\n%s",
				i, attempts, took, m.test.pattern, err, m.says, out)
		default:
			t.Logf("run %d, %.1f s: %s", i, took, bytes.TrimSpace(line))
			return
		}
	}
	t.Errorf("%s doesn't catch it", m.test.pattern)
}

// mustPass runs the test without a mistake. After a renaming it would pass by running
// nothing, or only what is around it.
func (tt test) mustPass(t *testing.T, exe string) {
	passed := "\n" + strings.Repeat("    ", strings.Count(tt.pattern, "/")) + "--- PASS: "
	switch out, err := tt.run(t, exe); {
	case err == nil && bytes.Contains(out, noWatch):
		t.Skipf("%s", noWatch)
	case err != nil || !bytes.Contains(out, []byte(passed)):
		t.Errorf("ended with %v\n%s", err, out)
	}
}

// noWatch is what testutil.NeedWatch says where it skips a test: some virtual machines have no
// debug registers.
var noWatch = []byte("needs debug registers")

// name returns the name of the test's function.
func (tt test) name() string {
	name, _, _ := strings.Cut(tt.pattern, "/")
	return strings.TrimSuffix(strings.TrimPrefix(name, "^"), "$")
}

// run runs the test in this environment and some more, for patience at most, which the
// error says then.
func (tt test) run(t *testing.T, exe string, env ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run", tt.pattern, "-test.v", "-test.timeout", hang.String())
	cmd.Dir = filepath.Join(root, tt.pkg)
	cmd.Env = append(os.Environ(), env...)
	if tt.engine != "" {
		cmd.Env = append(cmd.Env, "SLUBD_ENGINE="+tt.engine)
	}
	out, err := cmd.CombinedOutput()
	return out, cmp.Or(ctx.Err(), err)
}
