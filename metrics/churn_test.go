package metrics

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/slub"
)

// TestScrapeWhileCachesComeAndGo scrapes from two goroutines while two others
// make, use and close caches of the same names.
func TestScrapeWhileCachesComeAndGo(t *testing.T) {
	const rounds = 40
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(Config{}))

	var done atomic.Bool
	var scrapers, makers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for !done.Load() {
				if _, err := r.Gather(); err != nil {
					t.Error(err)
					return
				}
			}
		})
		makers.Go(func() {
			for i := range rounds {
				if err := useCache(fmt.Sprintf("churn-%d", i%3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	done.Store(true)
	scrapers.Wait()
}

// useCache sends objects through every kind of free.
func useCache(name string) error {
	c, err := slub.NewTyped[object](nil, slub.Config{Name: name})
	if err != nil {
		return err
	}
	for i := range 200 {
		o, err := c.Alloc()
		if err != nil {
			return err
		}
		if i%2 == 0 {
			c.Free(o)
		} else {
			c.FreeRCU(o)
		}
	}
	return c.Cache().Close()
}
