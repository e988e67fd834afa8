package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/slubd/slubd/metrics"
	"github.com/slubd/slubd/slub/debugpage"
	"github.com/slubd/slubd/slub/profile"
)

// handler serves what operators look at. A program that has more to show adds it to the mux.
func handler(s *server) *http.ServeMux {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s,
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.NewHandler(metrics.Config{}, r)) // and caches, arenas, …
	mux.Handle("GET /debug/pprof/slubd", profile.Handler())             // for go tool pprof
	mux.Handle("GET /debug/slubd/", debugpage.Handler())                // a page to look at
	return mux
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("kvd_"+name, help, labels, nil)
}

var (
	descKeys    = desc("keys", "Keys, those included that have expired and are not freed yet.")
	descClients = desc("clients", "Connections.")
	descUsed    = desc("memory_bytes", "Memory that the store takes for keys and values.")
	descCalls   = desc("commands_total", "Requests by command.", "command")
	descLookups = desc("lookups_total", "Keys that were asked for, by whether they were there.", "result")
	descExpired = desc("expired_keys_total", "Keys that the active expiry has freed.")
	descEvicted = desc("evicted_keys_total", "Keys that have made room for others.")
	descRefused = desc("refused_connections_total", "Connections refused because there were too many.")
	descBad     = desc("protocol_errors_total", "Connections closed because of what they sent.")
)

// Describe and Collect make the server a prometheus.Collector.
func (s *server) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descKeys, descClients, descUsed, descCalls, descLookups,
		descExpired, descEvicted, descRefused, descBad} {
		out <- d
	}
}

// Collect is called by several goroutines at once if scrapes overlap.
func (s *server) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	m := s.store.memory()
	gauge(descKeys, int64(s.store.len()))
	gauge(descClients, int64(s.connected()))
	gauge(descUsed, m.used)
	counter(descLookups, s.hits.Load(), "hit")
	counter(descLookups, s.misses.Load(), "miss")
	counter(descExpired, s.expired.Load())
	counter(descEvicted, m.evicted)
	counter(descRefused, s.refused.Load())
	counter(descBad, s.protocolErrors.Load())
	for i, c := range commands {
		counter(descCalls, s.calls[i].Load(), c.name)
	}
}
