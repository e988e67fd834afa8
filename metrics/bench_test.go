package metrics

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/slub"
)

// BenchmarkScrape gathers what a daemon with many caches shows. Counters of CPUs that have used no
// cache cost nothing, so the work is that of caches times CPUs in use.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("caches=%d", n), func(b *testing.B) {
			var caches []*slub.Cache
			for i := range n {
				c, err := slub.New(nil, slub.Config{Name: fmt.Sprintf("scraped-%d", i), Size: 64})
				if err != nil {
					b.Fatal(err)
				}
				p, err := c.Alloc()
				if err != nil {
					b.Fatal(err)
				}
				c.Free(p)
				caches = append(caches, c)
			}
			r := prometheus.NewRegistry()
			r.MustRegister(NewCollector(Config{Caches: only(caches...)}))
			b.Run("stats", func(b *testing.B) {
				for b.Loop() {
					observe(only(caches...)(), false)
				}
			})
			b.Run("gather", func(b *testing.B) {
				for b.Loop() {
					if _, err := r.Gather(); err != nil {
						b.Fatal(err)
					}
				}
			})
			for _, c := range caches {
				if err := c.Close(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}
