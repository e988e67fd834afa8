package metrics

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// The info metric of a cache has the names that the series of its arena, domain, Buckets and group
// have, so that a query can join them.
func TestCacheInfoJoins(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "joined"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := slub.NewGroup(slub.GroupConfig{Name: "tenant"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "joined", Group: g, Domain: &rcu.Domain{Name: "readers"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Malloc(100)
	if err != nil {
		t.Fatal(err)
	}
	s := scrape(t, Config{Caches: only(b.Caches()...)})
	s.expect(t, 1, "slubd_cache_info", "arena=joined", "domain=readers", "buckets=joined", "group=tenant", "cache=joined-112")
	s.expect(t, 112, "slubd_cache_in_use_bytes", "cache=joined-112")
	s.expect(t, 112, "slubd_buckets_in_use_bytes", "buckets=joined", "kind=class")
	for _, family := range []string{"slubd_arena_mappings{arena=joined}", "slubd_rcu_grace_periods_total{domain=readers}",
		"slubd_group_bytes{group=tenant,parent=}"} {
		if _, there := s[family]; !there {
			t.Errorf("no %s to join with", family)
		}
	}
	b.Free(p)
	if err := errors.Join(b.Close(), g.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

// Families by CPU are shown on request only, and add up to the cache's.
func TestPerCPUOnRequest(t *testing.T) {
	c := newCache(t, nil, slub.Config{Name: "per-cpu"})
	for range 500 {
		o, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		c.Free(o)
	}
	for key := range scrape(t, Config{Caches: only(c.Cache())}) {
		if strings.HasPrefix(key, "slubd_cpu_") {
			t.Errorf("%s is shown without request", key)
		}
	}
	s := scrape(t, Config{Caches: only(c.Cache()), PerCPU: true})
	s.expect(t, 500, "slubd_cpu_frees_total", "cache=per-cpu")
	s.expect(t, s.sum("slubd_cache_alloc_fastpath_total"), "slubd_cpu_allocs_total", "path=fast")
	s.expect(t, s.sum("slubd_cache_objects", "state=sheaf"),
		"slubd_cpu_sheaf_objects", "cache=per-cpu")
}

// Failed allocations are shown by reason, those of large objects as well.
func TestFailuresHaveReasons(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "tight", Limit: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "tight"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Malloc(8)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100 << 10, 2 << 20} {
		if _, err := b.Malloc(n); err == nil {
			t.Errorf("%d bytes of 64 KiB", n)
		}
	}
	s := scrape(t, Config{Caches: only(b.Caches()...)})
	failed := s.sum("slubd_cache_alloc_failures_total", "reason=limit") + s.sum("slubd_buckets_large_alloc_failures_total", "reason=limit")
	if failed < 2 {
		t.Errorf("%v failures at the limit", failed)
	}
	if all := s.sum("slubd_cache_alloc_failures_total") + s.sum("slubd_buckets_large_alloc_failures_total"); all != failed {
		t.Error(fmt.Sprint(all, " failures, at the limit ", failed))
	}
	b.Free(p)
	if err := errors.Join(b.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}
