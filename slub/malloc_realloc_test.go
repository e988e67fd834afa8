package slub

import (
	"testing"

	"github.com/slubd/slubd/hooks"
)

// SetHooks may set a Free hook while Realloc is under way. If the hook doesn't return, the copy has
// no user: both objects are free.
func TestReallocMeetsSetHooks(t *testing.T) {
	for how, leave := range leaves {
		for _, n := range []int{100, 40_000} { // a class, and a page class
			b := openBuckets(t, nil, BucketsConfig{})
			p := malloc(t, b, n)
			calls := 0
			hook := hooks.Hooks{Free: func(hooks.Object) bool { calls++; leave(); return false }}
			same(t, "SetHooks", b.SetHooks(hook), nil)
			b.hooking.now.Store(noHooks) // as Realloc may have found it before
			apart(func() { _, _ = b.Realloc(p, 3*n) })
			same(t, "SetHooks", b.SetHooks(hooks.Hooks{}), nil)
			if s := b.Stats(); calls == 0 || s.Objects != 0 {
				t.Errorf("%s, %d bytes: %d calls of the hook, %d objects in use", how, n, calls, s.Objects)
			}
		}
	}
}
