package metrics

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/slubd/slubd/slub"
)

func TestAcceptsGzip(t *testing.T) {
	for lines, want := range map[string]bool{
		"gzip": true, "GZip": true, "x-gzip": true, "gzip;q=0.5": true, "gzip ; Q = 0.5": true, "br;q=1, gzip;q=0.5": true,
		"br|gzip": true, "br|identity;q=0.1, gzip": true, "*": true, "*;q=0.1": true, "gzip;q=1.0, *;q=0": true,
		"": false, "br": false, "identity": false, "gzip;q=0": false, "gzip;q=0.000": false, "br|gzip;q=0": false,
		"gzip;q=0, *": false, "*;q=0": false, "gzip;q=0.5, identity": false, "gzip;q=x": false, "gzip;q=nan": false,
		"gzip;q=-1": false, "gzip;q=2": false, "gzip;level=9": false, "gzipped": false,
	} {
		if got := acceptsGzip(http.Header{"Accept-Encoding": strings.Split(lines, "|")}); got != want {
			t.Errorf("%q: %v", lines, got)
		}
	}
}

// cutShort is a ResponseWriter that fails after some bytes, as that of a middleware may.
type cutShort struct {
	http.ResponseWriter
	left int
}

func (c *cutShort) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	n, err := c.ResponseWriter.Write(p[:c.left])
	c.left = 0
	return n, errors.Join(err, io.ErrShortWrite)
}

// served asks a server for its metrics as a scraper does, and reads all of the body.
func served(t *testing.T, h http.Handler, query, accept, encoding string) (code int, header http.Header, body []byte, err error) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	request, err := http.NewRequest("GET", server.URL+"/metrics"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	if encoding != "" { // otherwise the client asks for gzip itself, and decompresses
		request.Header.Set("Accept-Encoding", encoding)
	}
	reply, err := server.Client().Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer reply.Body.Close()
	body, err = io.ReadAll(reply.Body)
	return reply.StatusCode, reply.Header, body, err
}

var textFormats = []string{"text/plain", "application/openmetrics-text"}

// TestScraperNoticesACutBody: a body that could not be sent to its end is an error for the scraper,
// compressed or not, wherever it ends.
func TestScraperNoticesACutBody(t *testing.T) {
	newCache(t, nil, slub.Config{Name: "cut"})
	h := NewHandler(Config{})
	for _, accept := range textFormats {
		for _, encoding := range []string{"identity", ""} {
			_, _, whole, err := served(t, h, "", accept, encoding)
			if err != nil || !bytes.Contains(whole, []byte(`cache="cut"`)) {
				t.Fatalf("%s, %q: %v, %d bytes", accept, encoding, err, len(whole))
			}
			for _, sent := range []int{1000, 3000} { // also less than the compressed text
				part := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&cutShort{w, sent}, r) })
				if code, _, body, err := served(t, part, "", accept, encoding); err == nil {
					t.Errorf("%s, %q: status %d with %d of %d bytes, and no error", accept, encoding, code, len(body), len(whole))
				}
			}
		}
	}
}

// TestFamilyThatCannotBeWritten: a family of a type that the format does not have is refused with a
// status, before any of the body is sent.
func TestFamilyThatCannotBeWritten(t *testing.T) {
	name, kind, value := "daemon_requests_total", dto.MetricType(99), 1.0
	wrong := []*dto.MetricFamily{{Name: &name, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}}
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return wrong, nil })
	for _, accept := range textFormats {
		code, _, body, err := served(t, NewHandler(Config{}, broken), "", accept, "")
		if code != 500 || err != nil || !bytes.Contains(body, []byte(name)) {
			t.Errorf("%s: status %d, %v, %.100q", accept, code, err, body)
		}
	}
}

// TestHandlerTellsCaches which headers of the request the reply depends on, and lets the query
// choose families.
func TestHandlerTellsCaches(t *testing.T) {
	newCache(t, nil, slub.Config{Name: "chosen"})
	h := NewHandler(Config{})
	_, header, body, err := served(t, h, "", "text/plain", "gzip")
	if vary := strings.Join(header.Values("Vary"), ", "); err != nil || vary != "Accept, Accept-Encoding" {
		t.Errorf("%v, Vary: %s", err, vary)
	}
	if !bytes.HasPrefix(body, []byte("\x1f\x8b")) || header.Get("Content-Encoding") != "gzip" {
		t.Errorf("not compressed: %.9q", body)
	}
	_, _, body, err = served(t, h, "?name[]=slubd_build_info", "text/plain", "")
	if err != nil || bytes.Count(body, []byte("# TYPE")) != 1 || !bytes.Contains(body, []byte("slubd_build_info{")) {
		t.Errorf("%v, %.200q", err, body)
	}
}
