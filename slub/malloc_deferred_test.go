package slub_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// bucketDrains are the calls that free what Buckets.FreeDeferred was given.
var bucketDrains = map[string]func(*slub.Buckets){
	"Barrier":   func(b *slub.Buckets) { _ = b.Barrier(context.Background()) },
	"Shrink":    func(b *slub.Buckets) { b.Shrink() },
	"the timer": func(*slub.Buckets) { fireSweep() },
	"Malloc": func(b *slub.Buckets) {
		for range 9 { // each frees a portion, of one object at least
			b.Free(first(b.Malloc(1_200_000)))
		}
	},
	"Close": func(b *slub.Buckets) { _ = b.Close() },
}

// Large objects given to FreeDeferred are freed, and their hooks called, by every drain and not
// before.
func TestFreeDeferredLarge(t *testing.T) {
	for how, drain := range bucketDrains {
		freed := map[uintptr]int{}
		delaySweep()
		b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{Free: func(o hooks.Object) bool { freed[o.Addr]++; return false }}})
		var ps []unsafe.Pointer
		for range 3 {
			for _, n := range []int{1_100_000, 1_200_000, maxRun + 1} {
				ps = append(ps, malloc(t, b, n))
			}
		}
		for _, p := range ps {
			fill(p, 64, 0xff) // no link lies in the object
			b.FreeDeferred(p)
			fill(p, 64, 0xff)
		}
		if l := b.LargeStats(); l.Waiting != 9 || len(freed) != 0 {
			t.Errorf("before %s %d wait, %d are free", how, l.Waiting, len(freed))
		}
		drain(b)
		for _, p := range ps {
			if freed[uintptr(p)] == 0 {
				t.Errorf("%s leaves %p", how, p)
			}
		}
		if l := b.LargeStats(); l.Waiting != 0 || l.Runs.Objects != 0 || l.Mappings.Objects != 0 {
			t.Errorf("after %s: %+v", how, l)
		}
	}
}

// An object of any kind that is given to FreeDeferred twice, or freed beside, is one report, and
// nothing that is not an object gets into the list.
func TestFreeDeferredLargeChecks(t *testing.T) {
	var reports []*hooks.Report
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	one := func(what string, p unsafe.Pointer, free func(unsafe.Pointer)) {
		t.Helper()
		reports = nil
		free(p)
		if len(reports) != 1 || reports[0].Addr != uintptr(p) {
			t.Errorf("%s: reports %v", what, reports)
		}
	}
	for _, n := range []int{100_000, 1_200_000, maxRun + 1} {
		for what, again := range map[string]func(unsafe.Pointer){"deferred again": b.FreeDeferred, "freed": b.Free, "freed by RCU": b.FreeRCUNoWait} {
			p := malloc(t, b, n)
			b.FreeDeferred(p)
			one(what, p, again)
			same(t, "Barrier", b.Barrier(t.Context()), nil)
		}
		p := malloc(t, b, n)
		one("inside", unsafe.Add(p, 4096), b.FreeDeferred)
		b.Free(p)
		one("after Free", p, b.FreeDeferred)
	}
	var word uint64
	one("a Go variable", unsafe.Pointer(&word), b.FreeDeferred)
	reports = nil
	b.FreeDeferred(nil)
	b.FreeDeferred(malloc(t, b, 0))
	b.FreeDeferred(malloc(t, b, 100))
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	if s := b.Stats(); s.Objects != 0 || len(reports) != 0 {
		t.Errorf("%d objects left, reports %v", s.Objects, reports)
	}
}

// Goroutines defer large objects of both kinds while others allocate, which drains; each object is
// freed once.
func TestFreeDeferredLargeStress(t *testing.T) {
	t.Run("ordinary", func(t *testing.T) { freeDeferredLarge(t, 0) })
	// Freeing takes much longer than allocating. If one drain cleared all of the list, others would
	// wait for it in vain, and fail.
	t.Run("cleared", func(t *testing.T) { freeDeferredLarge(t, slub.InitOnFree) })
}

func freeDeferredLarge(t *testing.T, flags slub.Flags) {
	rounds, span := testutil.Stress(t, 4000), int64(1<<30)
	if sanitized {
		rounds, span = rounds/8, span/4
	}
	b := openBuckets(t, newArena(t, arena.Config{Span: span}), slub.BucketsConfig{Flags: flags})
	var users sync.WaitGroup
	for id := range 4 {
		users.Go(func() {
			for i := range rounds / 4 {
				n := 1_100_000
				if (i+id)%16 == 0 {
					n = maxRun + 1
				}
				p, err := b.Malloc(n)
				if err != nil {
					t.Error(err)
					return
				}
				b.FreeDeferred(p)
			}
		})
	}
	users.Wait()
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	l := b.LargeStats()
	if l.Waiting != 0 || l.Runs.Objects != 0 || l.Mappings.Objects != 0 || int(l.Runs.Allocs+l.Mappings.Allocs) != rounds/4*4 {
		t.Errorf("%+v after %d rounds", l, rounds)
	}
}

// Close's error does not list what FreeDeferred was given, and lists what it was not.
func TestFreeDeferredLargeIsNoLeak(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	kept, given := malloc(t, b, 1_200_000), malloc(t, b, 1_200_000)
	b.FreeDeferred(given)
	err := b.Close()
	same(t, "Close", err, slub.ErrBusy)
	if !strings.Contains(err.Error(), hexOf(kept)) || strings.Contains(err.Error(), hexOf(given)) {
		t.Errorf("%v lists %p or not %p", err, given, kept)
	}
	b.Free(kept)
}
