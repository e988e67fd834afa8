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

// patience is how long NoLeaks waits for grace periods, at its call and at the end of the test,
// before it reports that they don't end.
const patience = time.Minute

// NoLeaks fails the test at its end, after all cleanups that were registered later, for each object
// that was allocated since the call and is still in use. It waits for the grace periods of what was
// given to FreeRCU first, both at the call and at the end.
//
// Without sources it looks at all caches and Buckets that are made until then, and has them sample
// every object, so that the failure has the stack of each leak. Each object then takes a page, and
// some microseconds. Those whose config has a ProfileRate keep it. Caches made meanwhile keep
// sampling every object until they are closed. It also looks at slub.DefaultBuckets, from which
// slub.Malloc and slub.Bytes allocate, as it does at sources.
//
// With sources it looks at these, which were made before. A leak's stack is known if the object was
// sampled. With a ProfileRate of 1 that is every object of 64 bytes or more. An object that was not
// sampled is not reported if it lies where another one lay at the call. Set ProfileRate to 1 to
// find these too.
//
// The test's own goroutine calls it, in no section and not as a reader. Leaks of the objects
// themselves are found, whether or not the cache is closed: a Close that fails leaves it open.
func NoLeaks(t testing.TB, sources ...Source) {
	t.Helper()
	if len(sources) == 0 {
		noLeaksOfAll(t)
		return
	}
	w := watch(t, sources...)
	t.Cleanup(func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.report(ctx, t)
	})
}

// noLeaksOfAll is NoLeaks without sources. The default Buckets outlive the test: so they are made
// before SampleAll, or each object of theirs would take a page in all tests to come.
func noLeaksOfAll(t testing.TB) {
	t.Helper()
	b := defaultBuckets(t)
	made := map[*slub.Cache]bool{}
	for c := range slub.Caches() {
		made[c] = true
	}
	w := watch(t, b)
	undo := sampling.SampleAll()
	t.Cleanup(func() {
		t.Helper()
		undo()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.report(ctx, t)
		for _, s := range madeSince(made) {
			report(ctx, t, s, nil, w.start)
		}
	})
}

// madeSince returns the caches, and the Buckets, that are open and not among those made before. A
// report in the loop over slub.Caches would name its line: the loop's body is no test helper.
func madeSince(before map[*slub.Cache]bool) (sources []Source) {
	seen := map[*slub.Buckets]bool{}
	for c := range slub.Caches() {
		switch b := c.Buckets(); {
		case before[c]:
		case b == nil:
			sources = append(sources, c)
		case !seen[b]:
			seen[b] = true
			sources = append(sources, b)
		}
	}
	return sources
}

// defaultBuckets returns slub.DefaultBuckets, or ends the test.
func defaultBuckets(t testing.TB) *slub.Buckets {
	t.Helper()
	b, err := slub.DefaultBuckets()
	if err != nil {
		t.Fatalf("slubtest: the default Buckets: %v", err)
	}
	return b
}

// A watched says what was in use at the call of NoLeaks.
type watched struct {
	sources []Source
	before  []map[uintptr]bool // for each source, addresses of objects in use
	start   time.Time
}

// watch notes what is in use. What waits for a grace period is made free first: its memory would
// count as in use now, and may be that of a leak later.
func watch(t testing.TB, sources ...Source) watched {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w := watched{sources: sources}
	for _, s := range sources {
		barrier(ctx, t, s)
	}
	w.start = time.Now()
	for _, s := range sources {
		w.before = append(w.before, addresses(s))
	}
	return w
}

func (w watched) report(ctx context.Context, t testing.TB) {
	t.Helper()
	for i, s := range w.sources {
		report(ctx, t, s, w.before[i], w.start)
	}
}

// barrier fails the test if what was given to FreeRCU does not become free.
func barrier(ctx context.Context, t testing.TB, s Source) {
	t.Helper()
	if err := s.Barrier(ctx); err != nil && !errors.Is(err, slub.ErrClosed) {
		t.Errorf("slubtest: %s: what waits for readers is not free: %v", s.Name(), err)
	}
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
func report(ctx context.Context, t testing.TB, s Source, before map[uintptr]bool, start time.Time) {
	t.Helper()
	barrier(ctx, t, s)
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
