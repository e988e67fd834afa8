package slub

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
)

// TestRegistryOfManyCaches: a cache can be registered beside 100,000 open ones, also if they all
// want one name. With a step for each open cache, all together would take 5*10^9. Caches without
// cells and slabs are enough for that; BenchmarkNewBesideOthers has real ones.
func TestRegistryOfManyCaches(t *testing.T) {
	n := 100_000
	if sanitized || testing.Short() {
		n = 10_000
	}
	for what, name := range map[string]func(i int) string{
		"equal names": func(int) string { return "session" },
		"other names": func(i int) string { return "session-" + strconv.Itoa(i) },
	} {
		t.Run(what, func(t *testing.T) {
			var r registry
			all, config := make([]Cache, n), new(Config)
			seen := make(map[string]bool, n)
			for i := range all {
				c := &all[i]
				c.name, c.config, c.shared = name(i), config, new(shared)
				same(t, "reserve", r.reserve(c), nil)
				r.publish(c)
				seen[c.name] = true
			}
			if len(seen) != n {
				t.Errorf("%d caches have %d names", n, len(seen))
			}
		})
	}
}

// BenchmarkNewBesideOthers makes a cache while others of its name are open.
func BenchmarkNewBesideOthers(b *testing.B) {
	a, err := arena.New(arena.Config{Name: "others"})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	cfg := Config{Size: 512, Name: "session", Domain: new(rcu.Domain)}
	var others []*Cache
	add := func() {
		c, err := New(a, cfg)
		if err != nil {
			b.Fatal(err)
		}
		others = append(others, c)
	}
	for _, n := range []int{10, 1000, 20_000} {
		b.Run(fmt.Sprintf("open=%d", n), func(b *testing.B) {
			for len(others) < n {
				add()
			}
			for b.Loop() {
				add()
			}
			b.StopTimer()
			for _, c := range others[n:] {
				same(b, "Close", c.Close(), nil)
			}
			others = others[:n]
		})
	}
	for _, c := range others {
		same(b, "Close", c.Close(), nil)
	}
}
