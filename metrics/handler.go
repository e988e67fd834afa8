package metrics

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/debugpage"
	"github.com/slubd/slubd/slub/profile"
)

// DebugHandler serves Handler at /metrics, the page of package slub/debugpage at /debug/slubd/, and
// the allocation profile of package slub/profile at /debug/pprof/slubd. At /debug/slubd/allocinfo
// is what slub.WriteCallSites writes:
//
//	go http.ListenAndServe("localhost:6060", metrics.DebugHandler())
//	go tool pprof http://localhost:6060/debug/pprof/slubd
//	curl localhost:6060/debug/slubd/allocinfo
func DebugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", Handler())
	mux.Handle("/debug/slubd/", debugpage.Handler())
	mux.Handle("/debug/pprof/slubd", profile.Handler())
	mux.HandleFunc("/debug/slubd/allocinfo", allocInfo)
	return mux
}

// allocInfo serves slub.WriteCallSites.
func allocInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = slub.WriteCallSites(w) // the client has gone
}

// Handler serves all of slubd's metrics with those of the Go runtime and of
// the process, from a registry of its own, as text or OpenMetrics as the
// scraper asks:
//
//	http.Handle("/metrics", metrics.Handler())
//
// Programs with a registry of their own call NewHandler.
func Handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return NewHandler(Config{}, r)
}

// NewHandler serves slubd's metrics and those of others, usually one registry, in which no
// NewCollector may be:
//
//	http.Handle("/metrics", metrics.NewHandler(metrics.Config{}, registry))
//
// It is for programs with many caches. A scrape as text or OpenMetrics takes a tenth to a fifth of
// the time that promhttp.Handler takes with NewCollector in the registry, and one as protobuf takes
// as long as that. A request fails with status 500 if others return an error or a family of slubd's
// names. Any number of requests may overlap.
func NewHandler(cfg Config, others ...prometheus.Gatherer) http.Handler {
	own := newCollector(cfg)
	r := prometheus.NewRegistry()
	r.MustRegister(own)
	all := append(prometheus.Gatherers{r}, others...)
	return &handler{own: own, others: others,
		client: promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true})}
}

// handler writes text itself, and has the client write all else.
type handler struct {
	own    *collector
	others prometheus.Gatherers
	client http.Handler
}

// ServeHTTP answers one scrape.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	kind := format.FormatType()
	if kind != expfmt.TypeTextPlain && kind != expfmt.TypeOpenMetrics {
		h.client.ServeHTTP(w, r)
		return
	}
	families, err := h.others.Gather()
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), namespace+"_") {
			err = errors.Join(err, fmt.Errorf("metrics: another collector has the family %s", f.GetName()))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o := newText(h.own.families, kind == expfmt.TypeOpenMetrics)
	defer outputs.Put(o)
	h.own.scrape(o)

	w.Header().Set("Content-Type", string(format))
	var body io.Writer = w
	if acceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		z := compressors.Get().(*gzip.Writer)
		defer compressors.Put(z)
		z.Reset(w)
		defer z.Close()
		body = z
	}
	// An error from here on means that the scraper has gone.
	if o.write(body, h.own.families) != nil {
		return
	}
	encoder := expfmt.NewEncoder(body, format)
	for _, f := range families {
		if encoder.Encode(f) != nil {
			return
		}
	}
	if c, ok := encoder.(expfmt.Closer); ok {
		_ = c.Close() // OpenMetrics has a last line
	}
}

// compressors are of the fastest level: scrapes repeat themselves so much that a better one would
// take several times as long for a few per cent.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // of a constant level
	}
	return z
}}

// acceptsGzip reports whether a client takes gzip. A weight of 0 says that it doesn't.
func acceptsGzip(h http.Header) bool {
	for _, coding := range strings.Split(h.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if name == "gzip" {
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}
