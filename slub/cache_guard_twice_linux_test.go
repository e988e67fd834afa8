//go:build linux && cgo && !race && !asan

package slub_test

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// A guarded object that is freed while it waits for a grace period, or in FreeDeferred's list, is
// reported at once, with the stacks that have allocated and freed it. Nothing in the allocator
// meets its page without access afterwards.
func TestGuardedFreedTwice(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	frees := map[string]func(c *slub.Cache, p unsafe.Pointer){
		"Free":         (*slub.Cache).Free,
		"FreeBulk":     func(c *slub.Cache, p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
		"FreeDeferred": (*slub.Cache).FreeDeferred,
		"FreeRCU":      (*slub.Cache).FreeRCU,
	}
	for first, free := range frees {
		for second, again := range frees {
			for _, flags := range []slub.Flags{0, slub.NoSheaves} {
				var reports []*hooks.Report
				c := open(t, newArena(t, largeArena), slub.Config{Name: "twice", Size: 64, GuardRate: everyGuarded, Flags: flags,
					Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
				p := allocGuarded(t, c)
				if !isGuarded(p) {
					t.Fatalf("%+v", slub.ReadGuardStats())
				}
				free(c, p)
				again(c, p)
				if len(reports) != 1 || reports[0].Kind != hooks.DoubleFree || reports[0].Addr != uintptr(p) {
					t.Fatalf("%s, then %s: reported: %v", first, second, reports)
				}
				h := reports[0].History
				if !strings.Contains(h, "slub_test.allocGuarded") || strings.Count(h, "slub_test.TestGuardedFreedTwice") < 2 {
					t.Errorf("%s, then %s: the history\n%s", first, second, h)
				}
				same(t, "Barrier", c.Barrier(t.Context()), nil)
				if s := c.Stats(); len(reports) != 1 || s.InUse != 0 {
					t.Errorf("%s, then %s: %d objects are in use, reported: %v", first, second, s.InUse, reports)
				}
			}
		}
	}
}
