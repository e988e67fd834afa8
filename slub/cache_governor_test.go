package slub

import (
	"math"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/sampling"
)

// Samples that come too often for the time that they take are taken further apart, and when they
// come seldom as near as they were. What a CPU has saved is used first.
func TestGovernor(t *testing.T) {
	var p cpuPace
	now := time.Duration(0)
	take := func(n int, distance time.Duration) {
		for range n {
			now += distance
			p.took(time.Microsecond, now)
		}
	}
	take(1, time.Second)
	for _, step := range []struct {
		what     string
		n        int
		distance time.Duration
		level    int32
	}{
		{"a burst", 290, 10 * time.Microsecond, 0},
		{"too often", 60, 10 * time.Microsecond, maxLevel},
		{"as often as they may", 100, 1000 * time.Microsecond, maxLevel},
		{"a bit less often", 3, 3 * time.Millisecond, maxLevel - 3},
		{"seldom", 1, 17 * time.Millisecond, maxLevel - 7},
		{"a second later", 1, time.Second, 0},
		{"another burst", 280, 10 * time.Microsecond, 0},
	} {
		take(step.n, step.distance)
		if got := p.level.Load(); got != step.level {
			t.Errorf("%s: after %d samples each %v the level is %d, want %d", step.what, step.n, step.distance, got, step.level)
		}
	}
}

// A goroutine that is interrupted, or moves to another CPU, may note a sample that ended before the
// latest one. That is no reason to take the next ones further apart.
func TestGovernorForgivesDisorder(t *testing.T) {
	var p cpuPace
	p.took(time.Microsecond, time.Hour)
	p.took(time.Microsecond, time.Minute)
	if level := p.level.Load(); level != 0 {
		t.Errorf("the level is %d", level)
	}
}

// A sample that seems to take milliseconds was interrupted: the CPU does not pay for it.
func TestGovernorForgivesInterruption(t *testing.T) {
	setLevels(t, 0, 0)
	for i := range pace.cpus {
		pace.cpus[i].samples.spent.Store(0)
	}
	for range 5 {
		pace.took(time.Now().Add(-time.Second))
	}
	for i := range pace.cpus {
		if got := pace.cpus[i].samples.level.Load(); got != 0 {
			t.Errorf("the level of CPU %d is %d", i, got)
		}
	}
}

// A CPU that takes no samples any more gets its distances back, and what has drawn large ones draws
// again.
func TestGovernorRelaxes(t *testing.T) {
	setLevels(t, 9, 7)
	last := time.Since(begin) - time.Hour
	cpu := &pace.cpus[0]
	for _, p := range []*cpuPace{&cpu.samples, &cpu.guards} {
		p.last.Store(int64(last))
		p.cost.Store(1000)
	}
	epoch := pace.epoch.Load()
	pace.relax()
	if samples, guards := cpu.samples.level.Load(), cpu.guards.level.Load(); samples != 0 || guards != 0 {
		t.Errorf("after an hour the levels are %d and %d", samples, guards)
	}
	if pace.epoch.Load() == epoch {
		t.Error("the epoch is the same")
	}
	if got := pace.cpus[1].samples.level.Load(); percpu.NumCPU() > 1 && got != 9 {
		t.Errorf("a CPU that is busy has level %d, want 9", got)
	}
}

// A CPU may be taking its first sample while the timer looks, and have a level before the timer has
// seen what the sample costs.
func TestGovernorRelaxesBesideTheFirst(t *testing.T) {
	var p cpuPace
	p.level.Store(1)
	if change := p.relax(time.Hour); change != -1 || p.level.Load() != 0 {
		t.Errorf("the level is %d, changed by %d", p.level.Load(), change)
	}
}

// setLevels sets the levels of all CPUs until the test ends. They count as busy: no timer lowers
// the levels.
func setLevels(t *testing.T, samples, guards int32) {
	set := func(p *cpuPace, level int32) {
		oldLevel, oldLast := p.level.Swap(level), p.last.Swap(math.MaxInt64)
		t.Cleanup(func() {
			p.level.Store(oldLevel)
			p.last.Store(oldLast)
		})
	}
	for i := range pace.cpus {
		set(&pace.cpus[i].samples, samples)
		set(&pace.cpus[i].guards, guards)
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
