package slubtest

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/internal/sampling"
)

// A Source has objects that a test may leak: a *slub.Cache, Typed.Cache(), or *slub.Buckets.
type Source interface {
	Name() string
	Live() iter.Seq[slub.LiveObject]
	Barrier(context.Context) error
}

// patience is how long NoLeaks waits for grace periods before it reports that they don't end.
const patience = time.Minute

// NoLeaks fails the test at its end, after all cleanups that were registered later, for each object
// that was allocated since the call and is still in use. It waits for the grace periods of what was
// given to FreeRCU first.
//
// Without sources it looks at all caches and Buckets that are made until then, and has them sample
// every object, so that the failure has the stack of each leak. Each object then takes a page, and
// some microseconds. Those whose config has a ProfileRate keep it. With sources it looks at these,
// which were made before: stacks are there of what they have sampled, of every object with a
// ProfileRate of 1 and objects of 64 bytes or more.
//
// The test's own goroutine calls it. Leaks of the objects themselves are found, whether or not the
// cache is closed: a Close that fails leaves it open.
func NoLeaks(t testing.TB, sources ...Source) {
	t.Helper()
	start := time.Now()
	if len(sources) > 0 {
		before := make([]map[uintptr]bool, len(sources))
		for i, s := range sources {
			before[i] = addresses(s)
		}
		t.Cleanup(func() {
			t.Helper()
			for i, s := range sources {
				report(t, s, before[i], start)
			}
		})
		return
	}
	made := map[*slub.Cache]bool{}
	for c := range slub.Caches() {
		made[c] = true
	}
	undo := sampling.SampleAll()
	t.Cleanup(func() {
		t.Helper()
		undo()
		seen := map[*slub.Buckets]bool{}
		for c := range slub.Caches() {
			switch b := c.Buckets(); {
			case made[c]:
			case b == nil:
				report(t, c, nil, start)
			case !seen[b]:
				seen[b] = true
				report(t, b, nil, start)
			}
		}
	})
}

// addresses returns those of the objects in use.
func addresses(s Source) map[uintptr]bool {
	in := map[uintptr]bool{}
	for o := range s.Live() {
		in[o.Addr] = true
	}
	return in
}

// report fails the test if objects of s are in use that were not in use before, or that were
// allocated since start at the address of one that was.
func report(t testing.TB, s Source, before map[uintptr]bool, start time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Barrier(ctx); err != nil && !errors.Is(err, slub.ErrClosed) {
		t.Errorf("slubtest: %s: what waits for readers is not free: %v", s.Name(), err)
	}
	var found leaks
	for o := range s.Live() {
		sample, sampled := o.Sampled()
		if !before[o.Addr] || sampled && sample.Since.After(start) {
			found.add(o, sample.Stack)
		}
	}
	if found.n > 0 {
		t.Errorf("slubtest: %s", found.text(s.Name()))
	}
}
