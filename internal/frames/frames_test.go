package frames

import "testing"

func TestOwn(t *testing.T) {
	for name, want := range map[string]bool{
		"github.com/slubd/slubd/slub.(*Cache).Alloc":                   true,
		"github.com/slubd/slubd/slub/internal/slab.(*Slabs).TakeAlone": true,
		"github.com/slubd/slubd/sheaves.(*Set).Refill":                 true,
		"github.com/slubd/slubd/internal/callback.Guard":               true,
		"github.com/slubd/slubd/internal/percpu.slowPop":               true,
		"github.com/slubd/slubd/slub_test.TestAlloc":                   false,
		"github.com/slubd/slubd/slub/rcumap.(*Map).Store":              false,
		"github.com/slubd/slubd/examples/kvd.main":                     false,
		"example.com/internal/slub.Alloc":                              false,
		"main.main":                                                    false,
		"":                                                             false,
	} {
		if got := Own(name); got != want {
			t.Errorf("Own(%q) is %t", name, got)
		}
	}
}
