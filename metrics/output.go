package metrics

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/internal/loghist"
)

// output takes the series of one scrape, which the collector sends in any order: as metrics for the
// Prometheus client, or as text. A scrape has one output, which one goroutine uses.
//
// The text is written here because the client, whose registry sorts and checks all series and
// describes each by ten objects, takes 150 ms for those of 1000 caches, and 3 us for each later
// one. A line of text takes 0.1 us, and leaves no garbage.
type output struct {
	client      chan<- prometheus.Metric // nil: text
	openMetrics bool                     // the format of the text; otherwise Prometheus's own
	lines       [][]byte                 // the series of each family, by its index
}

// outputs are for text, and keep their buffers from one scrape to the next.
var outputs = sync.Pool{New: func() any { return &output{} }}

// newText returns an output for text.
func newText(f *families, openMetrics bool) *output {
	o := outputs.Get().(*output)
	o.openMetrics = openMetrics
	o.lines = slices.Grow(o.lines[:0], len(f.all))[:len(f.all)]
	for i := range o.lines {
		o.lines[i] = o.lines[i][:0]
	}
	return o
}

// write writes what was sent, family by family. The error is that of w.
func (o *output) write(w io.Writer, f *families) error {
	for i, lines := range o.lines {
		if len(lines) == 0 {
			continue
		}
		begin := f.all[i].text
		if o.openMetrics {
			begin = f.all[i].openMetrics
		}
		if _, err := io.WriteString(w, begin); err != nil {
			return err
		}
		if _, err := w.Write(lines); err != nil {
			return err
		}
	}
	return nil
}

// send emits one series of the family; labels in the order of its description.
func (f *family) send(o *output, value float64, labels ...string) {
	if o.client != nil {
		o.client <- prometheus.MustNewConstMetric(f.desc, f.kind.client(), value, labels...)
		return
	}
	dst := f.appendSeries(o.lines[f.index], labels)
	o.lines[f.index] = append(appendNumber(dst, value), '\n')
}

// sendTimes emits one histogram; labels in the order of the family's description.
func (f *family) sendTimes(o *output, h loghist.Histogram, labels ...string) {
	if o.client != nil {
		o.client <- times{f.desc, h, prometheus.MakeLabelPairs(f.desc, labels)}
		return
	}
	dst := o.lines[f.index]
	var below uint64
	for i, n := range h.Buckets {
		if below += n; i == loghist.NumBuckets-1 {
			below = h.Count
		}
		dst = f.appendSuffixed(dst, "_bucket", labels, bound(i, o.openMetrics))
		dst = append(strconv.AppendUint(dst, below, 10), '\n')
	}
	dst = f.appendSuffixed(dst, "_sum", labels, "")
	dst = append(appendNumber(dst, h.Sum.Seconds()), '\n')
	dst = f.appendSuffixed(dst, "_count", labels, "")
	o.lines[f.index] = append(strconv.AppendUint(dst, h.Count, 10), '\n')
}

// bound returns the label le of a histogram's bucket.
func bound(i int, openMetrics bool) string {
	le := string(appendNumber(nil, loghist.Bound(i)))
	if openMetrics && !strings.ContainsAny(le, ".e+") {
		le += ".0" // there the label is a float, whose text must always be the same
	}
	return le
}

// parts returns what stands before each label's value in a series, and after the last.
func parts(name string, labels []string) []string {
	if len(labels) == 0 {
		return []string{name + " "}
	}
	list := []string{name + "{" + labels[0] + `="`}
	for _, l := range labels[1:] {
		list = append(list, `",`+l+`="`)
	}
	return append(list, `"} `)
}

// appendSeries appends a series up to the blank before its value.
func (f *family) appendSeries(dst []byte, labels []string) []byte {
	for i, value := range labels {
		dst = appendEscaped(append(dst, f.parts[i]...), value)
	}
	return append(dst, f.parts[len(labels)]...)
}

// appendSuffixed is appendSeries for one of a histogram's, with the label le unless that is empty.
func (f *family) appendSuffixed(dst []byte, suffix string, labels []string, le string) []byte {
	dst = append(append(dst, f.name...), suffix...)
	dst = append(dst, f.appendSeries(nil, labels)[len(f.name):]...)
	if le != "" {
		dst = append(dst[:len(dst)-len("} ")], `,le="`...)
		dst = append(append(dst, le...), `"} `...)
	}
	return dst
}

// appendEscaped appends a label's value as both formats of text have it.
func appendEscaped(dst []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c == '\\' || c == '"' || c == '\n' {
			return append(dst, labelEscapes.Replace(value)...)
		}
	}
	return append(dst, value...)
}

// exact is the number up to which a float64 has all integers.
const exact = 1 << 53

// appendNumber appends a value. Nearly all are integers, which are written several times as fast
// as others.
func appendNumber(dst []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < exact {
		return strconv.AppendInt(dst, int64(v), 10)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64) // also NaN, +Inf and -Inf as they should be
}

var (
	labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`) // of Prometheus's own text
)

// comments returns the lines that begin a family, in Prometheus's own text and in OpenMetrics.
func comments(name, help string, k kind) (text, openMetrics string) {
	lines := func(name, help string) string {
		return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + string(k) + "\n"
	}
	return lines(name, helpEscapes.Replace(help)), lines(strings.TrimSuffix(name, "_total"), labelEscapes.Replace(help))
}
