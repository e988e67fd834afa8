//go:build invariants

package slub

import (
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
)

// In builds with checks the short path of an Account looks at what it takes from a sheaf.
func TestOverwrittenSheafOfAccount(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{Name: "sheaves", ProfileRate: None, GuardRate: None})
	a, err := b.NewAccount(AccountConfig{Name: "sheaves"})
	same(t, "NewAccount", err, nil)
	defer a.Close()
	pinned(t, 0, func() {
		p, err := a.Malloc(64)
		same(t, "Malloc", err, nil)
		c := b.cacheOf(p)
		a.Free(p)
		overwriteSheaf(t, c, percpu.Main, uintptr(p)+8, 1)
		r := recovered(func() { _, _ = a.Malloc(64) })
		if r == nil || r.Kind != hooks.SheafCorrupt {
			t.Errorf("report: %v", r)
		}
	})
}
