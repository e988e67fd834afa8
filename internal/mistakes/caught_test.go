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
	sound := map[string]string{} // packages, and their tests built without a mistake
	passed := map[test]bool{}
	for _, m := range chosen {
		exe := sound[m.test.pkg]
		if exe == "" {
			exe = file(filepath.Base(m.test.pkg) + ".test")
			sound[m.test.pkg] = exe
			build(t, m.test.pkg, exe)
		}
		if !passed[m.test] {
			passed[m.test] = true
			t.Run("none, "+m.test.pattern, func(t *testing.T) { m.test.mustPass(t, exe) })
		}
	}
	// All are built before the first is run: the tests want the CPUs for themselves.
	built := t.Run("build", func(t *testing.T) {
		for _, m := range chosen {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				build(t, m.test.pkg, file(m.name+".test"), "-overlay", m.overlay(t, file(m.name)))
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

// build makes the test binary of one of the module's packages.
func build(t *testing.T, pkg, exe string, flags ...string) {
	// It is quicker without what debuggers read, and vet has seen the code without a mistake.
	args := append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", exe}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the tests of %s: %v\n%s", pkg, err, out)
	}
}

// overlay writes m's files to a new directory, and returns the path of the overlay's
// description, for the go command.
func (m mistake) overlay(t *testing.T, dir string) string {
	texts, err := m.apply()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{}
	for path, text := range texts {
		original, err := filepath.Abs(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		places[original] = filepath.Join(dir, strings.ReplaceAll(path, "/", "-"))
		if err := os.WriteFile(places[original], []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	description, err := json.Marshal(map[string]any{"Replace": places})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, description, 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// mustBeCaught runs the test with the mistake.
func (m mistake) mustBeCaught(t *testing.T, exe string) {
	began := time.Now()
	out, err := m.test.run(t, exe, plenty)
	line := regexp.MustCompile(`.*(?:` + m.says + `).*`).Find(out)
	switch {
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s doesn't fail (%v)", m.test.pattern, err)
	case line == nil:
		t.Errorf("%s ends with %v, but doesn't say %q:\n%s", m.test.pattern, err, m.says, out)
	default:
		t.Logf("%.1f s: %s", time.Since(began).Seconds(), bytes.TrimSpace(line))
	}
}

// mustPass runs the test without a mistake. After a renaming it would pass by running
// nothing, or only what is around it.
func (tt test) mustPass(t *testing.T, exe string) {
	passed := "\n" + strings.Repeat("    ", strings.Count(tt.pattern, "/")) + "--- PASS: "
	if out, err := tt.run(t, exe); err != nil || !bytes.Contains(out, []byte(passed)) {
		t.Errorf("ended with %v\n%s", err, out)
	}
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
