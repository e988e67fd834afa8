package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slubd/slubd/slub/debugpage"
	"github.com/slubd/slubd/slub/profile"
)

// DebugHandler serves Handler at /metrics, the page of package slub/debugpage at /debug/slubd/, and
// the allocation profile of package slub/profile at /debug/pprof/slubd:
//
//	go http.ListenAndServe("localhost:6060", metrics.DebugHandler())
//	go tool pprof http://localhost:6060/debug/pprof/slubd
func DebugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", Handler())
	mux.Handle("/debug/slubd/", debugpage.Handler())
	mux.Handle("/debug/pprof/slubd", profile.Handler())
	return mux
}

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
