//go:build linux && cgo && !race && !asan

package slub_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Faults of C code are reported, and a library's own handler for SIGSEGV goes on working: one that
// was there before Go's runtime, one installed before the guards, and one installed after them.
func TestGuardsBesideC(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	dir := t.TempDir()
	build := func(name string, env ...string) string {
		exe := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-o", exe, "./testdata/guards")
		cmd.Env = append(cmd.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return exe
	}
	plain, early := build("plain"), build("early", "CGO_CFLAGS=-O2 -DEARLY")
	const inGo, inC = `main\.peek\(`, `(?s)signal arrived during cgo execution.*main\.main\(`
	for _, c := range []struct{ exe, what, stack string }{
		{plain, "C reads", inC},
		{plain, "library before", inGo},
		{plain, "library after", inGo},
		{early, "library before Go", inGo},
	} {
		out, err := exec.Command(c.exe, c.what).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s: the process ends with %v, want exit status 2", c.what, err)
		}
		want := `(?s)^all is well\n=+\nBUG: slubd guard: use-after-free read at .*allocated on CPU .*main\.main\n.*freed on CPU .*main\.main\n.*` + c.stack
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s:\n%s", c.what, out)
		}
	}
}
