package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A curves chart has a line for each series. Its paths lie in a square of 100 by 100 that is
// stretched; marks and texts lie beside it, at places in percent.
type curves struct {
	Title  string
	XTicks []tick
	YTicks []tick
	XLabel string
	Series []curve
	Marks  []mark // vertical lines
	Table  table
}

type curve struct {
	Name, Class string
	Dashed      bool
	Path        string
	Glyph       string // what marks the curve's points, where colours look alike
	Points      []point
}

type point struct{ X, Y string }

type mark struct{ X, Text string }

// glyphs are the shapes of marks, in the order of workload.Implementations, and one for the rest.
// An implementation has the same in all charts.
var glyphs = []string{"●", "■", "▲", "◆", "✚", "▼", "★", "○", "□", "△", "◇", "▽", "☆", "◐", "✕"}

// glyph returns the shape for a class.
func glyph(of string) string {
	for i, name := range workload.Implementations() {
		if class(name) == of {
			return glyphs[min(i, len(glyphs)-1)]
		}
	}
	return glyphs[len(glyphs)-1]
}

// add adds a series of points in percent from the left and the bottom. From the first on, one in
// every is marked.
func (c *curves) add(name, class string, dashed bool, xs, ys []float64, every int) {
	s := curve{Name: name, Class: class, Dashed: dashed, Glyph: glyph(class)}
	var path strings.Builder
	for i := range xs {
		fmt.Fprintf(&path, "%c%.2f %.2f", "ML"[min(i, 1)], xs[i], 100-ys[i])
		if i%every == 0 || i == len(xs)-1 {
			s.Points = append(s.Points, point{percent(xs[i]), percent(100 - ys[i])})
		}
	}
	s.Path = path.String()
	c.Series = append(c.Series, s)
}

// nines are the percentiles that the axis of a distribution names.
var nines = []struct {
	share float64
	text  string
}{{0.9, "90"}, {0.99, "99"}, {0.999, "99.9"}, {0.9999, "99.99"}, {0.99999, "99.999"}, {0.999999, "99.9999"}}

// latencies makes the charts of a workload that times every call: Alloc and Free, each by
// percentile. Both axes are logarithmic; that of percentiles in the share of the calls that take
// longer.
func latencies(group []runner.Result) (list []curves, err error) {
	for call, title := range []string{tail.Alloc: "Alloc", tail.Free: "Free"} {
		c := curves{Title: title, XLabel: "of 100 calls take at most this long",
			Table: table{Head: append([]string{title}, tail.PointNames()...)}}
		type series struct {
			name  string
			class string
			late  bool
			h     *hdrhistogram.Histogram
		}
		var all []series
		var least, most, calls int64 = math.MaxInt64, 0, 0
		for _, r := range group {
			latency, _ := r.Extra[runner.Latency].(map[string]tail.Latency)
			for i, name := range []string{tail.Own[call], tail.Response[call]} {
				l, ok := latency[name]
				if !ok {
					continue
				}
				h, err := hdrhistogram.Decode([]byte(l.HDR))
				if err != nil {
					return nil, fmt.Errorf("the histogram of %s, %s: %w", r.Workload, r.Alloc, err)
				}
				late := i == 1
				title := r.Alloc + map[bool]string{true: " +wait"}[late]
				all = append(all, series{title, class(r.Alloc), late, h})
				least, most, calls = min(least, max(1, h.Min())), max(most, h.Max()), max(calls, h.TotalCount())
				row := []string{title}
				for _, ns := range l.Points() {
					row = append(row, nanoseconds(float64(ns)))
				}
				c.Table.Rows = append(c.Table.Rows, row)
			}
		}
		if len(all) == 0 {
			continue
		}
		y, depth := logAxis(float64(least), float64(most)), math.Log10(float64(calls))
		for _, x := range y.ticks() {
			c.YTicks = append(c.YTicks, tick{percent(100 - y.at(x)), nanoseconds(x)})
		}
		c.XTicks = []tick{{percent(0), "0"}}
		for i, n := range nines {
			if at := float64(i+1) / depth; at <= 1 {
				c.XTicks = append(c.XTicks, tick{percent(100 * at), n.text})
			}
		}
		for _, s := range all {
			xs, ys := distribution(s.h, depth, y)
			c.add(s.name, s.class, s.late, xs, ys, pointsPerDecade)
		}
		list = append(list, c)
	}
	return list, nil
}

// pointsPerDecade is how many percentiles are drawn between 90 and 99, between 99 and 99.9, ...
const pointsPerDecade = 10

// distribution returns the places of percentiles, to the last call.
func distribution(h *hdrhistogram.Histogram, depth float64, y axis) (xs, ys []float64) {
	own := math.Log10(float64(h.TotalCount()))
	for i := 0; float64(i) <= own*pointsPerDecade; i++ {
		nines := float64(i) / pointsPerDecade
		ns := h.ValueAtPercentile(100 * (1 - math.Pow(10, -nines)))
		xs, ys = append(xs, 100*nines/max(depth, 1e-9)), append(ys, y.at(float64(max(ns, 1))))
	}
	return xs, ys
}

// memoryChart makes the chart of resident memory over time, nil if it was not read.
func memoryChart(m *runner.Memory) *curves {
	if m == nil || len(m.Series) == 0 {
		return nil
	}
	c := &curves{Title: "Resident memory", XLabel: "seconds since the start; a vertical line begins a row",
		Table: table{Head: []string{"", "least", "median", "most", "readings"}}}
	var figures []float64
	end := 0.0
	for _, s := range m.Series {
		for _, p := range s.Points {
			figures = append(figures, float64(p.Bytes))
			end = max(end, p.Seconds)
		}
	}
	x, y := axis{high: max(end, 1e-3)}, newAxis(figures)
	for _, t := range x.ticks() {
		c.XTicks = append(c.XTicks, tick{percent(x.at(t)), short(t)})
	}
	for _, t := range y.byteTicks() {
		c.YTicks = append(c.YTicks, tick{percent(100 - y.at(t)), sizeText(t)})
	}
	for _, start := range m.Cases {
		c.Marks = append(c.Marks, mark{percent(x.at(start.Seconds)), start.Name})
	}
	for _, s := range m.Series {
		var xs, ys, values []float64
		for _, p := range s.Points {
			xs, ys, values = append(xs, x.at(p.Seconds)), append(ys, y.at(float64(p.Bytes))), append(values, float64(p.Bytes))
		}
		c.add(s.Name, memoryClass(s.Name), s.Name == runner.MemoryProcess, xs, ys, max(1, len(xs)/6))
		slices.Sort(values)
		c.Table.Rows = append(c.Table.Rows, []string{s.Name, sizeText(values[0]), sizeText(values[len(values)/2]), sizeText(values[len(values)-1]), fmt.Sprint(len(values))})
	}
	return c
}

// byteTicks are ticks at powers of two.
func (a axis) byteTicks() (list []float64) {
	if a.log {
		low, high := math.Ceil(math.Log2(a.low)), math.Floor(math.Log2(a.high))
		by := math.Ceil((high - low + 1) / 7)
		for e := low; e <= high; e += by {
			list = append(list, math.Exp2(e))
		}
		return list
	}
	s := math.Exp2(math.Ceil(math.Log2(a.high / 6)))
	for t := 0.0; t <= a.high; t += s {
		list = append(list, t)
	}
	return list
}

// memoryClass gives the parts of this process the colours of what they are of.
func memoryClass(name string) string {
	switch name {
	case runner.MemoryArena:
		return class(workload.Slubd)
	case runner.MemoryGoHeap:
		return class(workload.Go)
	}
	first, _, _ := strings.Cut(name, " (")
	return class(first)
}

// pauseRow is the pauses of Go's collector in one row of results.
type pauseRow struct {
	Name, Alloc, Class        string
	Count                     uint64
	P50, P99, Max             string // places
	Width                     string // from P50 to Max
	P50Text, P99Text, Longest string
}

// pauses is the chart of all pauses, on a logarithmic axis.
type pauses struct {
	Rows  []pauseRow
	Ticks []tick
}

// Table has the figures of the chart.
func (p pauses) Table() table {
	t := table{Head: []string{"", "allocator", "pauses", "p50", "p99", "longest"}}
	for _, r := range p.Rows {
		t.Rows = append(t.Rows, []string{r.Name, r.Alloc, fmt.Sprint(r.Count), r.P50Text, r.P99Text, r.Longest})
	}
	return t
}

// newPauses arranges the rows with pauses, the longest first.
func newPauses(results []runner.Result) (p pauses) {
	var figures []float64
	results = slices.DeleteFunc(slices.Clone(results), func(r runner.Result) bool { return len(r.Pauses) == 0 })
	slices.SortStableFunc(results, func(a, b runner.Result) int {
		return -cmp.Compare(workload.PauseAt(a.Pauses, 1), workload.PauseAt(b.Pauses, 1))
	})
	for _, r := range results {
		figures = append(figures, max(1, workload.PauseAt(r.Pauses, 0)), max(1, workload.PauseAt(r.Pauses, 1)))
	}
	if len(figures) == 0 {
		return p
	}
	a := logAxis(slices.Min(figures), slices.Max(figures))
	for _, x := range a.ticks() {
		p.Ticks = append(p.Ticks, tick{percent(a.at(x)), nanoseconds(x)})
	}
	for _, r := range results {
		at := func(share float64) float64 { return max(1, workload.PauseAt(r.Pauses, share)) }
		row := pauseRow{
			Name: r.Workload + ", " + rowTitle(r), Alloc: r.Alloc, Class: class(r.Alloc),
			P50: percent(a.at(at(0.5))), P99: percent(a.at(at(0.99))), Max: percent(a.at(at(1))),
			Width:   percent(a.at(at(1)) - a.at(at(0.5))),
			P50Text: nanoseconds(at(0.5)), P99Text: nanoseconds(at(0.99)), Longest: nanoseconds(at(1)),
		}
		for _, b := range r.Pauses {
			row.Count += b.Count
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// latencyCard is a workload that times every call.
type latencyCard struct {
	Name, Row string
	Charts    []curves
}

func latencyCards(d report.Document) (list []latencyCard, err error) {
	for _, group := range d.Groups() {
		if group[0].Unit != workload.PerCall {
			continue
		}
		charts, err := latencies(group)
		if err != nil {
			return nil, err
		}
		list = append(list, latencyCard{group[0].Workload, rowTitle(group[0]), charts})
	}
	return list, nil
}
