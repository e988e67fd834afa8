package metrics

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Groups are shown up to a number, the oldest first, and all are counted; a program may choose.
func TestGroupsUpToANumber(t *testing.T) {
	parent, err := slub.NewGroup(slub.GroupConfig{Name: "tenants", Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	var all []*slub.Group
	for i := range maxGroups {
		g, err := slub.NewGroup(slub.GroupConfig{Name: fmt.Sprint("tenant-", i), Parent: parent})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	defer func() {
		for _, g := range append(all, parent) {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	last := all[maxGroups-1]
	c, err := slub.New(nil, slub.Config{Size: 64, Group: last})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	bytes := float64(last.Stats().Bytes)
	shown := func(cfg Config, want int) series {
		t.Helper()
		s := scrape(t, cfg)
		s.expect(t, maxGroups+1, "slubd_groups")
		n := 0
		for name := range s {
			if strings.HasPrefix(name, "slubd_group_bytes{") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d groups are shown, want %d", n, want)
		}
		return s
	}
	s := shown(Config{}, maxGroups)
	s.expect(t, bytes, "slubd_group_bytes", "group=tenants", "parent=")
	s.expect(t, bytes, "slubd_group_bytes") // the latest is left out
	s.expect(t, 1<<30, "slubd_group_limit_bytes")
	s = shown(Config{MaxGroups: slub.Unlimited}, maxGroups+1)
	s.expect(t, bytes, "slubd_group_bytes", "group="+last.Name(), "parent=tenants")
	s.expect(t, 1, "slubd_group_caches")
	shown(Config{MaxGroups: slub.None}, 0)
	shown(Config{MaxGroups: 3}, 3)
	s = scrape(t, Config{Groups: func() iter.Seq[*slub.Group] { return slices.Values(all[maxGroups-1:]) }})
	s.expect(t, bytes, "slubd_group_bytes")
	s.expect(t, 1, "slubd_groups")
	c.Free(p)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestSeriesOfOthers has the numbers that doc.go names of what is no cache. A histogram is one
// series here, of which Prometheus makes 34.
func TestSeriesOfOthers(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "counted", Limit: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	g, err := slub.NewGroup(slub.GroupConfig{Name: "counted", Limit: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var d rcu.Domain
	c, err := slub.New(a, slub.Config{Name: "counted", Size: 64, Group: g, Domain: &d})
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for key := range scrape(t, Config{Caches: only(c), Groups: func() iter.Seq[*slub.Group] { return slices.Values([]*slub.Group{g}) }}) {
		switch {
		case strings.Contains(key, "backlog=counted"):
			n["backlog"]++
		case strings.Contains(key, "group=counted") && !strings.Contains(key, "cache="):
			n["group"]++
		case strings.Contains(key, "arena=counted") && strings.Contains(key, "node=0"):
			n["node"]++
		case strings.Contains(key, "arena=counted") && !strings.Contains(key, "cache="):
			n["arena"]++
		case strings.Contains(key, "domain=") && !strings.Contains(key, "cache="):
			n["domain"]++
		}
	}
	const histogram = 34 - 1
	if n["backlog"] != 9 || n["group"] != 8 || n["arena"]+histogram != 46 || n["domain"]+histogram != 46 || n["node"] < 5 || n["node"] > 11 {
		t.Errorf("%v", n)
	}
	if err := errors.Join(c.Close(), g.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}
