package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// entry is one allocator's part in a case.
type entry struct {
	alloc   string
	spec    workload.Spec // calibrated
	samples []workload.Sample
	contestant
}

// measure runs one case: everybody is opened and calibrated, then they take turns,
// in another order in each round, since a run's predecessor leaves its traces in the
// CPU's caches and in its clock.
func (r *run) measure(ctx context.Context, c Case) {
	var entries []*entry
	for _, alloc := range r.entrants(c) {
		r.tell(c, alloc, "calibrating")
		e, err := r.enter(ctx, alloc, c)
		if err != nil {
			r.fail(ctx, c, alloc, err)
			continue
		}
		entries = append(entries, e)
	}
	out := map[*entry]bool{} // who failed
	for round := range r.cfg.Count {
		for _, i := range r.random.Perm(len(entries)) {
			e := entries[i]
			if ctx.Err() != nil || out[e] {
				continue
			}
			r.tell(c, e.alloc, fmt.Sprintf("round %d of %d", round+1, r.cfg.Count))
			sample, err := e.run(ctx, e.spec)
			if err != nil {
				r.fail(ctx, c, e.alloc, err)
				out[e] = true
				continue
			}
			e.samples = append(e.samples, sample)
			r.step.Done++
		}
	}
	for _, e := range entries {
		r.fail(ctx, c, e.alloc, e.close())
		if !out[e] && ctx.Err() == nil {
			r.report.Results = append(r.report.Results, summarize(c, e.alloc, e.spec, e.samples))
		}
	}
}

// enter opens and calibrates alloc for c.
func (r *run) enter(ctx context.Context, alloc string, c Case) (*entry, error) {
	opened, err := r.open(ctx, alloc, c)
	if err != nil {
		return nil, err
	}
	e := &entry{alloc: alloc, contestant: opened, spec: c.Spec}
	if c.Workload.WholeHeap() {
		return e, nil // one collection or one life of a heap is one run
	}
	if e.spec, err = calibrate(ctx, opened, c.Spec, r.cfg.BenchTime); err != nil {
		_ = opened.close() // err says what went wrong first
		return nil, err
	}
	return e, nil
}

// maxOps ends calibration when a clock stands still.
const maxOps = 1 << 32

// calibrate finds how many operations take about bench. It begins with a
// tenth by the kind's guess, and takes the first run that lasts a twentieth as the
// measure. These runs also are the allocator's warm-up.
func calibrate(ctx context.Context, c contestant, s workload.Spec, bench time.Duration) (workload.Spec, error) {
	ops := max(1, int(bench/s.Kind.Guess()/10))
	for {
		s = s.WithOps(ops)
		sample, err := c.run(ctx, s)
		if err != nil {
			return s, err
		}
		elapsed := max(sample.Elapsed, 1)
		scale := float64(bench) / float64(elapsed)
		if elapsed >= bench/20 || float64(s.Ops)*scale > maxOps {
			return s.WithOps(max(s.Kind.Least(), int(min(float64(s.Ops)*scale, maxOps)))), nil
		}
		ops = int(float64(s.Ops) * min(scale, 100))
	}
}
