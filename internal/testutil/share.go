package testutil

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Injections is how often a test makes a mistake that is found by chance: SLUBD_INJECTIONS, or 200
// times.
func Injections(t testing.TB) int {
	t.Helper()
	text := os.Getenv("SLUBD_INJECTIONS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SLUBD_INJECTIONS=%s is no positive number", text)
	}
	return n
}

// ChildForShares is Child for a test that calls CheckShare, whose lines it logs.
func ChildForShares(t testing.TB, env ...string) bool {
	t.Helper()
	out, isChild, err := Rerun(t, env...)
	if isChild {
		return true
	}
	for _, line := range shareLine.FindAllString(out, -1) {
		t.Log(strings.TrimSpace(line))
	}
	if err != nil {
		t.Errorf("in a process of its own: %v\n%s", err, out[max(len(out)-4<<10, 0):])
	}
	return false
}

// shareLine is what CheckShare logs.
var shareLine = regexp.MustCompile(`[^:\n]*: \d+ of \d+, [0-9.]+ %`)

// CheckShare compares a share of n independent trials with the one that is expected. It may be six
// standard deviations from that: one test in 500 million fails by chance. A share of 0 or 1 is
// exact.
func CheckShare(t testing.TB, what string, count, n int, expected float64) {
	t.Helper()
	share := float64(count) / float64(n)
	t.Logf("%s: %d of %d, %.2f %%", what, count, n, 100*share)
	if math.Abs(share-expected) > 6*math.Sqrt(expected*(1-expected)/float64(n)) {
		t.Errorf("%s: %d of %d, expected a share of %g", what, count, n, expected)
	}
}
