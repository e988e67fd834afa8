package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves all of slubd's metrics with those of the Go runtime and of
// the process, from a registry of its own, as text or OpenMetrics as the
// scraper asks:
//
//	http.Handle("/metrics", metrics.Handler())
//
// Programs with a registry register NewCollector there instead.
func Handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		NewCollector(Config{}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r, EnableOpenMetrics: true})
}
