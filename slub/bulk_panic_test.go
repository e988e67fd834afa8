package slub

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
)

// panicsOnce returns a Free hook whose first call after it was armed panics.
func panicsOnce(armed *bool) func(hooks.Object) bool {
	return func(hooks.Object) bool {
		if *armed {
			*armed = false
			panic("hook")
		}
		return false
	}
}

// A bulk allocation that does not return, since a Free hook panics, leaves its caller no address:
// neither of what it gives back, nor what was in the caller's array before.
func TestBulkThatPanicsLeavesNothing(t *testing.T) {
	type bulk func(t *testing.T, dst []unsafe.Pointer, h hooks.Hooks, arm func())
	for name, alloc := range map[string]bulk{
		"AllocBulk, of FreeDeferred": func(t *testing.T, dst []unsafe.Pointer, h hooks.Hooks, arm func()) {
			c := open(t, nil, Config{Size: 64, Hooks: h})
			c.FreeDeferred(take(t, c, 1)[0])
			arm()
			_ = c.AllocBulk(dst)
		},
		"MallocBulk, large, without memory": func(t *testing.T, dst []unsafe.Pointer, h hooks.Hooks, arm func()) {
			a := newArena(t, arena.Config{Limit: 8 * mib})
			b := openBuckets(t, a, BucketsConfig{Name: "bulk", Hooks: h})
			arm()
			_ = b.MallocBulk(2*mib, dst)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dst, armed := make([]unsafe.Pointer, 8), false
			for i := range dst {
				dst[i] = unsafe.Pointer(&dst[i])
			}
			if returns(func() { alloc(t, dst, hooks.Hooks{Free: panicsOnce(&armed)}, func() { armed = true }) }) {
				t.Fatal("it returns")
			}
			if i := slices.IndexFunc(dst, func(p unsafe.Pointer) bool { return p != nil }); i >= 0 {
				t.Errorf("dst[%d] is %p", i, dst[i])
			}
		})
	}
}
