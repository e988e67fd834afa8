package slub

import (
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// Reports about shared slabs have the name of the oldest open alias.
func TestReportsNameAnOpenAlias(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	var all []*Cache
	for _, name := range []string{"oldest", "middle", "youngest"} {
		all = append(all, open(t, a, Config{Name: name, Size: 48}))
	}
	listed := func(want *Cache) {
		t.Helper()
		for c := range Caches() {
			if c.id == want.id && c != want {
				t.Errorf("%q is listed, want %q", c.name, want.name)
			}
		}
		for _, c := range all {
			if s := c.Stats(); s.Backlog.Name != want.name {
				t.Errorf("%q has the backlog of %q, want %q", c.name, s.Backlog.Name, want.name)
			}
		}
		var r *hooks.Report
		func() {
			defer func() { r, _ = recover().(*hooks.Report) }()
			all[0].reportCorrupt(uintptr(take(t, want, 1)[0]), 0)
		}()
		if r == nil || r.Cache != want.name {
			t.Errorf("a report that concerns them all is %v", r)
		}
		want.Free(mem.Ptr(r.Addr))
	}
	listed(all[0])
	same(t, "Close", all[1].Close(), nil)
	listed(all[0])
	same(t, "Close", all[0].Close(), nil)
	if other := open(t, a, Config{Name: "oldest", Size: 2048}); other.Name() != "oldest" {
		t.Errorf("a closed alias's name is not free: %q", other.Name())
	}
	listed(all[2])
}
