package testutil

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Need returns the path of a program, or skips the test and names the Debian
// package that has it. With SLUBD_REQUIRE=1, as in CI, the test fails instead,
// so that nothing is left out unnoticed.
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

// Stress returns how many operations a stress test runs: SLUBD_STRESS_OPS, or
// deflt, of which -short leaves a tenth.
func Stress(t testing.TB, deflt int) int {
	t.Helper()
	text := os.Getenv("SLUBD_STRESS_OPS")
	if text == "" {
		if testing.Short() {
			return max(deflt/10, 1)
		}
		return deflt
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SLUBD_STRESS_OPS=%s is no positive number", text)
	}
	return n
}

// Seed returns the seed for a test's random choices, a new one unless
// SLUBD_SEED fixes it, and logs it, so that a failure can be replayed.
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
