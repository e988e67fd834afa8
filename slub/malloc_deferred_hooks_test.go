package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// A Free hook that panics in a drain loses no other object of the list, and one that keeps an
// object leaves it in use.
func TestFreeDeferredLargeHooks(t *testing.T) {
	calls, keep := 0, uintptr(0)
	b := openBuckets(t, nil, BucketsConfig{Hooks: hooks.Hooks{Free: func(o hooks.Object) bool {
		if calls++; calls == 2 {
			panic("hook")
		}
		return o.Addr == keep
	}}})
	var ps []unsafe.Pointer
	for range 3 {
		ps = append(ps, malloc(t, b, 1_200_000), malloc(t, b, maxRun+1))
	}
	keep = uintptr(ps[0])
	for _, p := range ps {
		b.FreeDeferred(p)
	}
	func() {
		defer func() { _ = recover() }()
		b.Shrink()
	}()
	b.Shrink()
	if l := b.LargeStats(); calls != 6 || l.Waiting != 0 || l.Runs.Objects != 1 || l.Mappings.Objects != 0 {
		t.Fatalf("%d hooks called, want 6; want in use the run that its hook kept, and no more: %+v", calls, l)
	}
	keep = 0
	b.Free(ps[0])
}
