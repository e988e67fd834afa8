package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// written returns what an output writes of a world.
func written(t *testing.T, f *families, send func(*output), openMetrics bool) string {
	t.Helper()
	o := newText(f, openMetrics)
	defer outputs.Put(o)
	send(o)
	var out bytes.Buffer
	if err := o.write(&out, f); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// byClient returns what the client writes of the same world.
func byClient(t *testing.T, shown prometheus.Collector, format expfmt.Format) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(shown)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, format)
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// awkward is a handmade world whose names need escapes, with values that are no integers.
func awkward() fixed {
	w := handmade()
	w.caches[0].Name = "quote\" slash\\ line\nend"
	w.caches[0].arena = "" // a label without a value
	return fixed{newCollector(Config{}), w}
}

// TestTextIsWhatTheClientWrites compares all series of the two ways, which the parser of the client
// reads, and the comments of both formats.
func TestTextIsWhatTheClientWrites(t *testing.T) {
	shown := awkward()
	f := shown.families
	send := func(o *output) { shown.send(o, shown.world) }
	parse := func(text string) map[string]*dto.MetricFamily {
		t.Helper()
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return families
	}
	got, want := parse(written(t, f, send, false)), parse(byClient(t, shown, expfmt.FmtText))
	names := slices.Sorted(maps.Keys(want))
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, names) || len(names) < 80 {
		t.Fatalf("families %v, want %v", have, names)
	}
	// The client sorts labels by their names, and families and series as well.
	text := func(f *dto.MetricFamily) []string {
		var lines []string
		for _, m := range f.GetMetric() {
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
			lines = append(lines, fmt.Sprint(f.GetType(), m))
		}
		slices.Sort(lines)
		return lines
	}
	for _, name := range names {
		if got, want := text(got[name]), text(want[name]); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for openMetrics, format := range map[bool]expfmt.Format{false: expfmt.FmtText, true: expfmt.FmtOpenMetrics_1_0_0} {
		got, want := written(t, f, send, openMetrics), byClient(t, shown, format)
		for what, of := range map[string]func(string) []string{"comments": commentsOf, "bounds": boundsOf} {
			if got, want := of(got), of(want); !slices.Equal(got, want) || len(want) == 0 {
				t.Errorf("%s of %s:\n%v, want\n%v", what, format, got, want)
			}
		}
	}
}

// commentsOf returns the lines of HELP and TYPE.
func commentsOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// boundsOf returns the labels le.
func boundsOf(text string) (list []string) {
	for line := range strings.Lines(text) {
		if _, rest, found := strings.Cut(line, `le="`); found {
			le, _, _ := strings.Cut(rest, `"`)
			list = append(list, le)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestAppendNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", -3: "-3", 0.25: "0.25", 1 << 53: "9.007199254740992e+15", 1<<53 - 1: "9007199254740991",
		math.Inf(1): "+Inf", math.Inf(-1): "-Inf", 1e-6: "1e-06",
	} {
		if got := string(appendNumber(nil, v)); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	if got := string(appendNumber(nil, math.NaN())); got != "NaN" {
		t.Errorf("NaN is written %s", got)
	}
}

// TestTextLeavesNoGarbage counts the objects that a text makes for each further cache: none for its
// 64 series, a few for the numbers that are its labels.
func TestTextLeavesNoGarbage(t *testing.T) {
	c := newCollector(Config{})
	w := handmade()
	allocs := func(caches int) float64 {
		many := w
		many.caches = slices.Repeat(w.caches[:1], caches)
		return testutil.GoAllocs(10, func() {
			o := newText(c.families, false)
			c.send(o, many)
			outputs.Put(o)
		})
	}
	few, many := allocs(10), allocs(1010)
	if each := (many - few) / 1000; each > 5 {
		t.Errorf("a cache takes %.1f objects", each)
	}
}

// TestHandlerJoinsOthers serves series of another registry behind slubd's, and refuses to if that
// has slubd's own.
func TestHandlerJoinsOthers(t *testing.T) {
	newCache(t, nil, slub.Config{Name: "joined"})
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "daemon_up"}, func() float64 { return 1 }))
	answer := func(accept string, others ...prometheus.Gatherer) *httptest.ResponseRecorder {
		w, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		request.Header.Set("Accept", accept)
		NewHandler(Config{}, others...).ServeHTTP(w, request)
		return w
	}
	const protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	for _, accept := range []string{"text/plain", "application/openmetrics-text", protobuf} {
		w := answer(accept, r)
		media, _, _ := strings.Cut(accept, ";")
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "daemon_up") || !strings.Contains(body, "joined") ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), media) {
			t.Errorf("%s: status %d, %q, %d bytes", accept, w.Code, w.Header().Get("Content-Type"), len(body))
		}
	}

	r.MustRegister(NewCollector(Config{}))
	if w := answer("text/plain", r); w.Code != 500 || !strings.Contains(w.Body.String(), "slubd_") {
		t.Errorf("slubd's families twice: status %d, %.100s", w.Code, w.Body)
	}
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("it is broken") })
	if w := answer("text/plain", broken); w.Code != 500 || !strings.Contains(w.Body.String(), "it is broken") {
		t.Errorf("another's error: status %d, %.100s", w.Code, w.Body)
	}
}
