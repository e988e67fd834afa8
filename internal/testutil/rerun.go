package testutil

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// child marks a process that Rerun started.
const child = "SLUBD_TEST_CHILD"

// Rerun runs the calling test alone in a new process, with env ("NAME=value") added to the
// environment, and returns the output of the process and how it ended. In that process Rerun
// returns isChild true at once, and the test goes on with the part that needs the environment or
// that is expected to crash:
//
//	out, isChild, err := testutil.Rerun(t, "GLIBC_TUNABLES=glibc.pthread.rseq=0")
//	if isChild {
//		... // the environment holds here
//		return
//	}
//	... // judge out and err
//
// Where the kernel can't execute the test binary, as under qemu-user, an emulator of one process,
// the test is skipped, as by NeedHost.
func Rerun(t testing.TB, env ...string) (output string, isChild bool, err error) {
	t.Helper()
	if os.Getenv(child) == t.Name() {
		return "", true, nil
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run="+exactly(t.Name()), "-test.v", "-test.count=1")
	cmd.Env = append(append(os.Environ(), child+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		NeedHost(t, "an emulator that the kernel starts for each program", "qemu-user-binfmt", err)
	}
	return string(out), false, err
}

// exactly returns the -test.run pattern that matches only the named test or subtest.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// Child reports whether this is the process that a call of Child has started for the test: there
// the test goes on. In the other process, Child has run the test as Rerun does, fails the test
// unless it passed there, and returns false: the test returns at once.
func Child(t testing.TB, env ...string) bool {
	t.Helper()
	out, isChild, err := Rerun(t, env...)
	return isChild || judge(t, out, err)
}

// judge fails the test unless it has passed in a process of its own, and returns false.
func judge(t testing.TB, out string, err error) bool {
	t.Helper()
	if err != nil || !strings.Contains(out, "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}
