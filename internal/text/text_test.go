package text

import (
	"math"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 sheaves", 1: "1 sheaf", 2: "2 sheaves"} {
		if got := Count(n, "sheaf", "sheaves"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Objects(-1) + ", " + Objects(1); got != "-1 objects, 1 object" {
		t.Error(got)
	}
}

func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                         "0s",
		1:                         "1ns",
		999:                       "999ns",
		1_234:                     "1.23µs",
		1_234_567:                 "1.23ms",
		999_999_999:               "1s",
		10_003_123_456:            "10s",
		83_456 * time.Millisecond: "1m23.5s",
		-1_234_567:                "-1.23ms",
		math.MaxInt64:             "2561111h6m40s",
	} {
		if got := Round(d).String(); got != want {
			t.Errorf("%d ns are %s, want %s", d, got, want)
		}
	}
}
