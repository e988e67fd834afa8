//go:build linux && cgo && !race && !asan

package slub_test

import (
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// Guards find as many mistakes as docs/debugging.md says: half of the reads beside a guarded
// object, all other mistakes made to it, and none of those made to other objects.
func TestGuardDetectionRates(t *testing.T) {
	if !testutil.ChildForShares(t, "SLUBD_GUARD=off", "SLUBD_PROFILE_RATE=0", "SLUBD_HARDENED=0") {
		return
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	n := testutil.Injections(t)
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	reports := 0
	cfg := slub.Config{Size: 64, GuardRate: everyGuarded, Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports++ }}}
	c := newCache(t, cfg)
	// beside is the address of the byte in front of an object, or behind it.
	beside := func(p unsafe.Pointer) uintptr {
		if rng.IntN(2) == 0 {
			return uintptr(p) - 1
		}
		return uintptr(p) + 64
	}
	for what, m := range map[string]struct {
		make  func(p unsafe.Pointer) (found bool) // makes the mistake, and frees the object
		share float64
	}{
		"a read beside the object": {func(p unsafe.Pointer) bool {
			did := faulted(func() { peek(beside(p)) })
			c.Free(p)
			return did
		}, 0.5},
		"a write beside the object": {func(p unsafe.Pointer) bool {
			before := reports
			did := faulted(func() { poke(beside(p)) })
			c.Free(p)
			return did || reports > before
		}, 1},
		"a read of the free object": {func(p unsafe.Pointer) bool {
			c.Free(p)
			return faulted(func() { peek(uintptr(p) + uintptr(rng.IntN(64))) })
		}, 1},
	} {
		count := 0
		for range n {
			p := allocGuarded(t, c)
			if !isGuarded(p) {
				t.Fatalf("%p is not guarded: %+v", p, slub.ReadGuardStats())
			}
			if m.make(p) {
				count++
			}
		}
		testutil.CheckShare(t, what, count, n, m.share)
	}
	cfg = slub.Config{Size: 1 << 10, GuardRate: 64 << 10}
	some, count := newCache(t, cfg), 0
	for range n {
		p := allocGuarded(t, some)
		some.Free(p)
		if faulted(func() { peek(uintptr(p)) }) {
			count++
		}
	}
	share := 1 - math.Exp(-float64(cfg.Size)/float64(cfg.GuardRate))
	testutil.CheckShare(t, "a read of a free object of 1 KiB, with one guard for each 64 KiB", count, n, share)
}

// faulted calls f and reports whether it faulted.
func faulted(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}
