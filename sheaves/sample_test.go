package sheaves

import (
	"math"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// sampler is a caller that samples, as package slub is one.
type sampler struct {
	*rig
	pop     percpu.Pop
	sampled bool    // the latest alloc was one of those that are picked
	weight  float64 // of all that were
}

func newSampler(t *testing.T, mean float64) *sampler { return newScaledSampler(t, mean, nil, nil) }

// newScaledSampler is newSampler for a caller that changes the mean.
func newScaledSampler(t *testing.T, mean float64, scale func() float64, epoch *atomic.Uint32) *sampler {
	s := &sampler{rig: newRigOf(t, 1, func(cfg *Config) {
		cfg.SampleMean, cfg.SampleScale, cfg.SampleEpoch = mean, scale, epoch
	})}
	s.pop.Init(s.slots, percpu.Main, func() (unsafe.Pointer, error) {
		p, weight := s.TryAllocSample()
		if s.weight += weight; weight > 0 {
			s.sampled = true
			p = s.TryAlloc()
		}
		if p != nil {
			return p, nil
		}
		return s.Alloc()
	})
	return s
}

func (s *sampler) alloc(t *testing.T) (unsafe.Pointer, bool) {
	s.sampled = false
	p, err := s.pop.Func()()
	if err != nil {
		t.Fatal(err)
	}
	return p, s.sampled
}

// Two sites allocate: one frees every object at once, and the other keeps most of its objects for a
// while. Both are sampled at the rate that was asked for.
func TestSamplesEverySite(t *testing.T) {
	const mean, rounds = 40, 100_000
	s := newSampler(t, mean)
	var kept []unsafe.Pointer
	var balanced, leaking int
	for range rounds {
		for range 3 {
			p, sampled := s.alloc(t)
			if s.Free(p); sampled {
				balanced++
			}
		}
		p, sampled := s.alloc(t)
		if sampled {
			leaking++
		}
		if kept = append(kept, p); len(kept) == 10 {
			for _, p := range kept {
				s.Free(p)
			}
			kept = kept[:0]
		}
	}
	for _, p := range kept {
		s.Free(p)
	}
	chance := -math.Expm1(-1.0 / mean)
	for name, c := range map[string]struct{ got, of int }{"balanced": {balanced, 3 * rounds}, "leaking": {leaking, rounds}} {
		want := chance * float64(c.of)
		// Seven standard deviations: less than one failure in 10^11 runs.
		if bound := 7 * math.Sqrt(want); math.Abs(float64(c.got)-want) > bound {
			t.Errorf("%s: %d of %d allocations sampled, want %.0f +- %.0f", name, c.got, c.of, want, bound)
		}
	}
}

// A CPU that has drawn a large distance draws again with its next sheaf after the mean has become
// smaller, and a site that uses up sheaves is sampled from then on. What the samples stand for is
// right, however often the mean changes.
func TestSamplesAfterMeanFalls(t *testing.T) {
	const mean, large, n = 40, 1e12, 20_000
	var epoch atomic.Uint32
	scale := large
	s := newScaledSampler(t, mean, func() float64 { return scale }, &epoch)
	var kept []unsafe.Pointer
	free := func() {
		for _, p := range kept {
			s.Free(p)
		}
		kept = kept[:0]
	}
	leak := func(n int) (samples int) {
		for range n {
			p, sampled := s.alloc(t)
			if kept = append(kept, p); sampled {
				samples++
			}
		}
		return samples
	}
	if got := leak(n); got != 0 {
		t.Fatalf("%d samples at a mean of %g", got, mean*large)
	}
	scale = 1
	epoch.Add(1)
	want := -math.Expm1(-1.0/mean) * n
	bound := 7 * math.Sqrt(want) // and what was left of a sheaf
	if got := float64(leak(n)); math.Abs(got-want) > bound+float64(s.Capacity())/mean {
		t.Errorf("%.0f of %d allocations sampled, want %.0f +- %.0f", got, n, want, bound)
	}
	due, sampled := 0, 0
	for tries := 0; due < 100 && tries < 1_000_000; tries++ {
		if leak(1); s.slots.Stack(percpu.CPU(), percpu.Main).LooksDue() {
			due++
			scale = large
			epoch.Add(1)
			sampled += leak(1)
			scale = 1
			epoch.Add(1)
		}
	}
	if due < 100 || sampled < 50 { // the goroutine may have moved to another CPU
		t.Errorf("of %d allocations that were picked before, %d are sampled", due, sampled)
	}
	free()
	s.weight = 0
	const rounds = 10_000
	for i := range rounds {
		if scale = float64(1 + i%3); scale == 1 {
			epoch.Add(1)
		}
		if leak(100); i%10 == 0 {
			free()
		}
	}
	free()
	// A sample that stands for w allocations comes with a chance of about 1/w.
	if bound := 7 * math.Sqrt(3*mean*rounds*100); math.Abs(s.weight-rounds*100) > bound {
		t.Errorf("samples stand for %.0f allocations, want %d +- %.0f", s.weight, rounds*100, bound)
	}
}

// An allocation of a node has the CPU draw again after the mean has become smaller, too.
func TestNodeSamplesAfterMeanFalls(t *testing.T) {
	const mean, large = 1e-3, 1e15 // each allocation is picked, or none
	var epoch atomic.Uint32
	scale := large
	s := newScaledSampler(t, mean, func() float64 { return scale }, &epoch)
	p, _ := s.alloc(t)
	s.Free(p)
	p, weight := s.TryAllocNodeSample(0)
	if s.Free(p); weight != 0 {
		t.Fatalf("an allocation is picked at a mean of %g", mean*large)
	}
	scale = 1
	epoch.Add(1)
	if p, weight = s.TryAllocNodeSample(0); weight == 0 {
		s.Free(p)
		t.Errorf("no allocation is picked at a mean of %g", mean)
	}
}

// Pops that don't sample arm a stack that is due for the next pick: it does not stay due, which
// would make all sequences take their slow paths.
func TestDueStackIsArmed(t *testing.T) {
	for name, alloc := range map[string]func(s *sampler) unsafe.Pointer{
		"TryAlloc":       func(s *sampler) unsafe.Pointer { return s.TryAlloc() },
		"TryAllocNode":   func(s *sampler) unsafe.Pointer { return s.TryAllocNode(0) },
		"TryAllocNoWait": func(s *sampler) unsafe.Pointer { return s.TryAllocNoWait() },
		"TryAllocNodeSample": func(s *sampler) unsafe.Pointer {
			p, _ := s.TryAllocNodeSample(0)
			if p == nil { // picked, if every allocation is
				p = s.TryAllocNodeUnsampled(0)
			}
			return p
		},
	} {
		for _, mean := range []float64{0, 1e9} {
			s := newSampler(t, mean)
			p, _ := s.alloc(t)
			s.Free(p)
			st := s.slots.LockCPU(0, percpu.Main) // the rig has moved here
			st.Arm(1)
			st.Unlock()
			if p := alloc(s); p != nil {
				s.Free(p)
			} else {
				t.Errorf("%s got nothing", name)
			}
			if s.slots.Stack(0, percpu.Main).LooksDue() {
				t.Errorf("%s with mean %v leaves the stack due", name, mean)
			}
		}
	}
}

// An allocation of a node that the stack can't serve, since its top object lies on another node, is
// not drawn there: the caller draws for what it takes from the Source. The pick stays for the next
// operation.
func TestSampleNodeIsDrawnOnce(t *testing.T) {
	r := newRigOf(t, 2, func(cfg *Config) {
		noOthers(cfg)
		cfg.SampleMean = 1e9
	})
	r.arrange(state{main: 0, spare: none})
	remote := r.src.take(1, 1)
	st := r.hold(percpu.Main)
	st.PushN(remote)
	st.Arm(1)
	st.Unlock()
	for range 3 {
		if p, weight := r.TryAllocNodeSample(0); p != nil || weight != 0 {
			t.Fatalf("an allocation of node 0 gets %v with the weight %v from a stack with an object of node 1", p, weight)
		}
	}
	if p, weight := r.TryAllocSample(); p != nil || weight == 0 {
		t.Errorf("the next allocation gets %v with the weight %v, want a pick", p, weight)
	}
	r.got(r.TryAlloc())
}

// An allocation of another node that was picked in vain is one mismatch, not two.
func TestPickedInVainIsCountedOnce(t *testing.T) {
	r := newRigOf(t, 2, noOthers)
	r.arrange(state{main: 1, spare: none})
	r.TryAllocNodeSample(1)
	r.TryAllocNodeUnsampled(1)
	if n := r.Stats().Events[AllocNodeMismatch]; n != 1 {
		t.Errorf("AllocNodeMismatch is %d, want 1", n)
	}
}
