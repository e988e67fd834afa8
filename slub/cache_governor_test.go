package slub

import (
	"testing"
	"time"

	"github.com/slubd/slubd/slub/internal/sampling"
)

// Samples that come too often for the time that they take are taken further apart, and when they
// come seldom as near as they were.
func TestGovernor(t *testing.T) {
	var p cpuPace
	now := time.Duration(0)
	take := func(n int, distance time.Duration) {
		for range n {
			now += distance
			p.took(now-time.Microsecond, now)
		}
	}
	take(1, time.Second)
	for _, step := range []struct {
		n        int
		distance time.Duration
		level    int32
	}{
		{5, 10 * time.Microsecond, 5}, {100, 500 * time.Microsecond, 5}, {3, 2 * time.Millisecond, 2},
		{100, 10 * time.Microsecond, maxLevel}, {100, time.Second, 0},
	} {
		take(step.n, step.distance)
		if got := p.level.Load(); got != step.level {
			t.Errorf("after %d samples each %v the level is %d, want %d", step.n, step.distance, got, step.level)
		}
	}
}

// Only the automatic rate is governed.
func TestGovernedRate(t *testing.T) {
	for rate, want := range map[int64]int64{None: 0, 0: processProfileRate(), 4096: 4096} {
		if got := profileRate(rate); got != want {
			t.Errorf("ProfileRate %d stands for %d, want %d", rate, got, want)
		}
	}
	if s := newSampler(4096, None, sampling.Labels{}); s.scaled || s.mean(64) != 64 {
		t.Errorf("a rate of 4096 makes %+v", s)
	}
	if s := newSampler(None, None, sampling.Labels{}); s != nil {
		t.Errorf("None makes %+v", s)
	}
}
