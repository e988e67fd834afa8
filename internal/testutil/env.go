package testutil

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// Need returns the path of a program. If it is missing, Need skips the test and names the Debian
// package that has the program. With SLUBD_REQUIRE=1, as in CI, the test fails instead, so that no
// test is skipped unnoticed.
func Need(t testing.TB, program, aptPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("SLUBD_REQUIRE") == "1" {
		t.Fatalf("%s is required: apt-get install %s", program, aptPackage)
	}
	t.Skipf("needs %s: apt-get install %s", program, aptPackage)
	return ""
}

// NeedHost is for what no program gives but the host must allow, such as a mount. If err is not nil
// it skips the test. The reason says what the test needs, and from which Debian package its program
// comes. With SLUBD_REQUIRE=1 the test fails instead.
func NeedHost(t testing.TB, what, aptPackage string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("SLUBD_REQUIRE") == "1" {
		t.Fatalf("%s is required (apt-get install %s, and run as root): %v", what, aptPackage, err)
	}
	t.Skipf("needs %s (apt-get install %s, and run as root): %v", what, aptPackage, err)
}

// NeedEngine checks, in a child that SLUBD_ENGINE asks to use an engine, that it has that one; name
// and reason are those of slub.Engine. Where a build has no sequences the trylock engine has to do.
// Where the host refuses them the test is skipped, as by NeedHost.
func NeedEngine(t testing.TB, asked, name, reason string) {
	t.Helper()
	switch {
	case name == asked:
	case asked == "trylock":
		t.Fatalf("this is engine %s", name)
	case !strings.Contains(reason, errors.ErrUnsupported.Error()):
		NeedHost(t, "rseq(2)", "linux-image-amd64", errors.New(reason))
	}
}

// NeedLong skips a test that builds programs with other settings, and so compiles much again,
// unless SLUBD_PLATFORMS=1.
func NeedLong(t testing.TB) {
	t.Helper()
	if os.Getenv("SLUBD_PLATFORMS") != "1" {
		t.Skip("builds programs: make images or make platforms runs it")
	}
}

// GoAllocs is testing.AllocsPerRun, which counts what other goroutines allocate as well, such as a
// timer that reads a file: GoAllocs returns the least of three counts. In a build with
// -gcflags=-d=checkptr each conversion of an address to a pointer allocates, which says nothing
// about f: there it calls f as often and returns 0.
func GoAllocs(runs int, f func()) float64 {
	if !checksPointers() {
		least := testing.AllocsPerRun(runs, f)
		for range 2 {
			if least == 0 {
				break
			}
			least = min(least, testing.AllocsPerRun(runs, f))
		}
		return least
	}
	for range runs + 1 {
		f()
	}
	return 0
}

// checksPointers reports whether this is such a build.
func checksPointers() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-gcflags" && strings.Contains(s.Value, "checkptr") {
			return true
		}
	}
	return false
}

// Stress returns how many operations a stress test runs: SLUBD_STRESS_OPS, otherwise deflt, or a
// tenth of it with -short, or a quarter in an instrumented build. There an operation costs several
// times as much, and a mistake shows at one access: two accesses that are unordered are reported
// whichever came first, and one of memory that is free whatever it reads. The test need not meet
// the moment in which two operations collide, for which other builds run all.
func Stress(t testing.TB, deflt int) int {
	t.Helper()
	text := os.Getenv("SLUBD_STRESS_OPS")
	if text == "" {
		switch {
		case testing.Short():
			return max(deflt/10, 1)
		case Instrumented:
			return max(deflt/4, 1)
		}
		return deflt
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SLUBD_STRESS_OPS=%s is no positive number", text)
	}
	return n
}

// Seed returns the seed for a test's random choices, a new one unless SLUBD_SEED sets it. It logs
// the seed, so that the choices of a failed test can be repeated.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SLUBD_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 0, 64); err != nil {
			t.Fatalf("SLUBD_SEED=%s is no 64-bit number", text)
		}
	}
	t.Logf("SLUBD_SEED=%#x", seed)
	return seed
}
