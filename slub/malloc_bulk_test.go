package slub_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// MallocBulk returns distinct objects of every size, and FreeBulk frees a mix of all.
func TestMallocBulk(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	b := openBuckets(t, nil, slub.BucketsConfig{})
	var all []unsafe.Pointer
	for _, n := range boundaries {
		ps := make([]unsafe.Pointer, 3)
		same(t, "MallocBulk", b.MallocBulk(n, ps), nil)
		for i, p := range ps {
			if b.Size(p) < n {
				t.Errorf("object %d of %d bytes has %d", i, n, b.Size(p))
			}
			*(*uintptr)(p) = uintptr(p)
		}
		all = append(all, ps...)
	}
	for _, p := range all {
		if *(*uintptr)(p) != uintptr(p) {
			t.Fatalf("%p has two owners", p)
		}
	}
	nothing := make([]unsafe.Pointer, 2)
	same(t, "MallocBulk of no bytes", b.MallocBulk(0, nothing), nil)
	if nothing[0] == nil || nothing[0] != nothing[1] {
		t.Errorf("no bytes are %p and %p", nothing[0], nothing[1])
	}
	all = append(all, nil, nothing[0])
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	b.FreeBulk(all)
	b.FreeBulk(nil)
	if s := b.Stats(); s.Objects != 0 {
		t.Errorf("%d objects are left", s.Objects)
	}
	same(t, "MallocBulk of nothing", b.MallocBulk(100, nil), nil)
}

// A MallocBulk that fails keeps nothing, and leaves nothing in its argument.
func TestMallocBulkFails(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Limit: 2 * mib}), slub.BucketsConfig{})
	for n, want := range map[int]error{-1: slub.ErrSize, 8192: slub.ErrNoMemory, 300_000: slub.ErrNoMemory, maxRun + 1: slub.ErrNoMemory} {
		ps := make([]unsafe.Pointer, 500)
		ps[499] = unsafe.Pointer(b)
		same(t, "MallocBulk", b.MallocBulk(n, ps), want)
		for i, p := range ps {
			if p != nil {
				t.Fatalf("%d bytes: element %d is %p", n, i, p)
			}
		}
		if s := b.Stats(); s.Objects != 0 {
			t.Errorf("%d bytes: %d objects are in use", n, s.Objects)
		}
	}
	same(t, "Close", b.Close(), nil)
	for _, n := range kinds {
		same(t, "MallocBulk after Close", b.MallocBulk(n, make([]unsafe.Pointer, 1)), slub.ErrClosed)
	}
}

// If a hook panics, MallocBulk gives back what it had, and FreeBulk frees the rest.
func TestMallocBulkHookPanics(t *testing.T) {
	allocs, frees, stop := 0, 0, 0 // stop: the number of the call that panics
	count := func(n *int) {
		if *n++; *n == stop {
			panic("hook")
		}
	}
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{
		Alloc: func(hooks.Object) { count(&allocs) },
		Free:  func(hooks.Object) bool { count(&frees); return false },
	}})
	panics := func(f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		f()
	}
	ps := make([]unsafe.Pointer, 5)
	stop = 3
	panics(func() { _ = b.MallocBulk(1_200_000, ps) })
	stop = 0
	if n := largeInUse(b); n != 0 || frees != 2 {
		t.Errorf("%d objects in use, %d given back", n, frees)
	}

	same(t, "MallocBulk", b.MallocBulk(1_200_000, ps), nil)
	ps = append(ps, malloc(t, b, 100))
	frees, stop = 0, 2
	panics(func() { b.FreeBulk(ps) })
	stop = 0
	if n := largeInUse(b); n != 0 || frees != len(ps) {
		t.Errorf("%d objects in use, %d hooks called for %d", n, frees, len(ps))
	}
}

// FreeBulk checks each pointer, and frees the others.
func TestFreeBulkOfBucketsChecks(t *testing.T) {
	var reports []*hooks.Report
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	var word uint64
	ps := []unsafe.Pointer{malloc(t, b, 100), unsafe.Pointer(&word), malloc(t, b, 1_200_000), malloc(t, b, 200)}
	ps = append(ps, unsafe.Add(ps[2], 4096), unsafe.Add(ps[0], 8))
	b.FreeBulk(ps)
	if len(reports) != 3 || b.Stats().Objects != 0 {
		t.Errorf("%d reports, %d objects left", len(reports), b.Stats().Objects)
	}
}
