package metrics

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
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
// as long as that. A request fails with status 500 if others return an error, a family of slubd's
// names, or one that can't be written. Where a body can't be sent to its end, the connection is
// aborted, so that a scraper doesn't take a part for all of it. name[] in the query chooses
// families, as with promhttp. Any number of requests may overlap.
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
	if kind != expfmt.TypeTextPlain && kind != expfmt.TypeOpenMetrics || r.URL != nil && r.URL.Query().Has("name[]") {
		h.client.ServeHTTP(w, r)
		return
	}
	others, err := h.encodeOthers(format)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o := newText(h.own.families, kind == expfmt.TypeOpenMetrics)
	defer outputs.Put(o)
	h.own.scrape(o)

	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	send := func(body io.Writer) error {
		if err := o.write(body, h.own.families); err != nil {
			return err
		}
		_, err := body.Write(others)
		return err
	}
	if acceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		err = compressed(w, send)
	} else {
		err = send(w)
	}
	if err != nil {
		// The status was sent, and a handler that returned now would end the body as if it were
		// complete. The connection is lost in most cases.
		panic(http.ErrAbortHandler)
	}
}

// encodeOthers returns the text of all families that are not slubd's, with the end of the format.
// Nothing of a reply is sent until it is complete, so that an error has a status of its own.
func (h *handler) encodeOthers(format expfmt.Format) ([]byte, error) {
	families, err := h.others.Gather()
	if err = cmp.Or(err, foreign(families)); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return nil, fmt.Errorf("metrics: the family %s: %w", f.GetName(), err)
		}
	}
	if c, ok := encoder.(expfmt.Closer); ok { // OpenMetrics has a last line
		err = c.Close()
	}
	return text.Bytes(), err
}

// foreign returns an error that lists those of the families that have names of slubd's.
func foreign(families []*dto.MetricFamily) (err error) {
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), namespace+"_") {
			err = errors.Join(err, fmt.Errorf("metrics: another collector has the family %s", f.GetName()))
		}
	}
	return err
}
