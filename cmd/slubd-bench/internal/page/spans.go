package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A spans chart has a line for each implementation, with its runs, where their median lies, and the
// median itself.
type spans struct {
	Title string // of the row, such as "2 threads, 64 bytes"
	Lines []span
	Ticks []tick
	Log   bool
	Unit  string
}

// span is one implementation's line.
type span struct {
	Name, Class string
	Bar         string // width of a bar from 0 to the median; empty on a logarithmic axis
	Low, High   string // ends of the median's interval; empty if there is none
	Min, Width  string // of all runs
	IntervalW   string
	Median      string
	Runs        []string
	Text        string // median and interval
	Ratio       string // to slubd's median
	Cells       []string
}

type tick struct{ At, Text string }

// spanHead are the columns of the table behind a chart.
var spanHead = []string{"", "median", "interval", "least", "most", "runs", "times slubd's"}

// newSpans makes the chart of one row of results.
func newSpans(title string, group []runner.Result) spans {
	var figures []float64
	base := 0.0
	for _, r := range group {
		figures = append(figures, r.Min, r.Max)
		if r.Alloc == workload.Slubd {
			base = r.Median
		}
	}
	a := newAxis(figures)
	s := spans{Title: title, Log: a.log, Unit: unitName(group[0].Unit)}
	for _, x := range a.ticks() {
		s.Ticks = append(s.Ticks, tick{percent(a.at(x)), short(x)})
	}
	for _, r := range group {
		s.Lines = append(s.Lines, newSpan(a, r, base))
	}
	return s
}

func newSpan(a axis, r runner.Result, base float64) span {
	l := span{
		Name: r.Alloc, Class: class(r.Alloc), Median: percent(a.at(r.Median)),
		Min: percent(a.at(r.Min)), Width: percent(a.at(r.Max) - a.at(r.Min)), Text: figure(r.Median),
	}
	if !a.log {
		l.Bar = percent(a.at(r.Median))
	}
	interval := "needs 6 runs"
	if i := r.Interval; i != nil {
		l.Low, l.High = percent(a.at(i.Low)), percent(a.at(i.High))
		l.IntervalW = percent(a.at(i.High) - a.at(i.Low))
		l.Text += " " + stat.Reach(i.Share(r.Median))
		interval = figure(i.Low) + " to " + figure(i.High)
	}
	for _, v := range r.Values {
		l.Runs = append(l.Runs, percent(a.at(v)))
	}
	if base > 0 {
		l.Ratio = "x" + figure(r.Median/base)
	}
	l.Cells = []string{r.Alloc, figure(r.Median), interval, figure(r.Min), figure(r.Max), fmt.Sprint(r.N), strings.TrimPrefix(l.Ratio, "x")}
	return l
}

// unitName writes a unit for a person.
func unitName(unit string) string {
	switch unit {
	case workload.PerOp:
		return "ns per operation and thread"
	case workload.PerCollection:
		return "ms per forced collection"
	case workload.PerByte:
		return "resident bytes per byte of payload"
	case workload.PerPeriod:
		return "ns per grace period"
	case workload.PerCall:
		return "ns, p99.9 of Alloc in each run"
	}
	return unit
}

// card is a workload with a chart for each number of threads and size.
type card struct {
	ID, Name, About string
	Charts          []spans
}

// table is what stands behind a chart. The first column has names.
type table struct {
	Head []string
	Rows [][]string
}

// Table has the figures of the chart.
func (s spans) Table() table {
	t := table{Head: spanHead}
	for _, l := range s.Lines {
		t.Rows = append(t.Rows, l.Cells)
	}
	return t
}

// cards arranges the results by workload. Those that time every call have latencies as well.
func cards(d report.Document) (list []card) {
	for _, group := range d.Groups() {
		r := group[0]
		i := slices.IndexFunc(list, func(c card) bool { return c.Name == r.Workload })
		if i < 0 {
			i, list = len(list), append(list, card{ID: "w-" + r.Workload, Name: r.Workload, About: about(r.Workload)})
		}
		list[i].Charts = append(list[i].Charts, newSpans(rowTitle(r), group))
	}
	return list
}

// rowTitle says what distinguishes a row of a workload.
func rowTitle(r runner.Result) string {
	size := "mixed sizes"
	if r.Size > 0 {
		size = sizeText(float64(r.Size))
	}
	return plural(r.Threads, "thread") + ", " + size
}

// plural writes a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// about returns the description of a workload.
func about(name string) string {
	for _, w := range workload.Catalog() {
		if w.Name == name {
			return w.About
		}
	}
	if workload.KindOf(name) == workload.Trace {
		return "a recorded trace, which each thread replays"
	}
	return ""
}

// class is the class of an implementation in the style sheet, which has its colour.
func class(name string) string {
	if slices.Contains(workload.Implementations(), name) {
		return "s-" + name
	}
	return "s-other"
}
