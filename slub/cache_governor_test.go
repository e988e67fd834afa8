package slub

import (
	"math"
	"testing"
	"time"

	"github.com/slubd/slubd/sheaves"
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

// setLevels sets the levels of all CPUs until the test ends.
func setLevels(t *testing.T, samples, guards int32) {
	for i := range pace.cpus {
		cpu := &pace.cpus[i]
		oldSamples, oldGuards := cpu.samples.level.Swap(samples), cpu.guards.level.Swap(guards)
		t.Cleanup(func() {
			cpu.samples.level.Store(oldSamples)
			cpu.guards.level.Store(oldGuards)
		})
	}
}

// Samples that are taken further apart leave the rate of guards as it is, and the other way round.
// The estimate of the profile stays right.
func TestGuardsKeepTheirRate(t *testing.T) {
	const bytes, allocs = 4096, 40_000_000
	for name, levels := range map[string]struct{ samples, guards int32 }{
		"none": {0, 0}, "samples": {5, 0}, "guards": {0, 3}, "both": {4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			setLevels(t, levels.samples, levels.guards)
			s := &sampler{samples: picking{1.0 / (512 << 10), true}, guards: picking{1.0 / (16 << 20), true}}
			guards, estimate := 0, 0.0
			for at := 0; ; {
				next := s.nextPick(bytes)
				if at += next.gap + 1; at > allocs {
					break
				}
				guarded, weight := s.pickGuard(sheaves.SampleWeight(next.mean))
				if guarded {
					guards++
				}
				estimate += weight
			}
			// Each has at least 1200 picks, so that the bounds are five standard deviations away.
			want := float64(allocs*bytes) / float64(int64(16<<20)<<levels.guards)
			if got := float64(guards); math.Abs(got-want) > 0.15*want {
				t.Errorf("%.0f objects are guarded, want %.0f", got, want)
			}
			if math.Abs(estimate-allocs) > 0.1*allocs {
				t.Errorf("the samples stand for %.0f allocations, want %d", estimate, allocs)
			}
		})
	}
}

// Guards that come too often are spaced out by themselves.
func TestGuardsHaveTheirOwnLevel(t *testing.T) {
	setLevels(t, 1, 0)
	for range 20 {
		pace.tookGuarded(time.Now().Add(-time.Hour))
	}
	guards := int32(0)
	for i := range pace.cpus {
		guards = max(guards, pace.cpus[i].guards.level.Load())
		if got := pace.cpus[i].samples.level.Load(); got != 1 {
			t.Fatalf("guards have made the level of samples %d", got)
		}
	}
	if guards == 0 {
		t.Error("guards of an hour each have level 0")
	}
}

// Only the automatic rate is governed, whether the other one is or not.
func TestGovernedRate(t *testing.T) {
	for rate, want := range map[int64]int64{None: 0, 0: processProfileRate(), 4096: 4096} {
		if got := profileRate(rate); got != want {
			t.Errorf("ProfileRate %d stands for %d, want %d", rate, got, want)
		}
	}
	if s := newSampler(4096, None, sampling.Labels{}); s.samples.scaled || s.mean(64) != 64 {
		t.Errorf("a rate of 4096 makes %+v", s)
	}
	if s := newSampler(None, None, sampling.Labels{}); s != nil {
		t.Errorf("None makes %+v", s)
	}
}
