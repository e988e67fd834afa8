package metrics_test

import (
	"fmt"
	"iter"
	"log"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/metrics"
	"github.com/slubd/slubd/slub"
)

// A program with a registry of its own shows the caches that it cares about.
func ExampleNewCollector() {
	sessions, err := slub.New(nil, slub.Config{Name: "session", Size: 96})
	if err != nil {
		log.Fatal(err)
	}
	only := func(yield func(*slub.Cache) bool) { yield(sessions) }
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(metrics.Config{
		Caches: func() iter.Seq[*slub.Cache] { return only },
	}))
	p, err := sessions.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "slubd_cache_objects" {
			continue
		}
		for _, m := range family.GetMetric() {
			if strings.Contains(m.String(), `"in_use"`) {
				fmt.Println("sessions in use:", m.GetGauge().GetValue())
			}
		}
	}
	sessions.Free(p)
	fmt.Println("closed:", sessions.Close())
	// Output:
	// sessions in use: 1
	// closed: <nil>
}
