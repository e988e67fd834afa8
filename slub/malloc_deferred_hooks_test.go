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
		t.Errorf("%d hooks called, only the run that a hook kept is to be left: %+v", calls, l)
	}
	keep = 0
	for _, p := range ps { // what the panic and the hook have kept
		if l, ok := b.largeAt(p); ok {
			b.unclaim(l)
			b.Free(p)
		}
	}
}
