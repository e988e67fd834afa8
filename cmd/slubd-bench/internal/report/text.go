package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Text writes the document for a person: where it was measured, a table per
// unit, and what could not be measured.
func (d Document) Text(w io.Writer) error {
	var b bytes.Buffer
	d.machine(&b)
	fmt.Fprintf(&b, "medians of %s of %s each, seed %d\n", count(d.Env.Count, "interleaved run"), d.Env.BenchTime, d.Env.Seed)
	for i, p := range parts {
		if t := d.table(p); len(t.rows) > 0 {
			fmt.Fprintf(&b, "\n%s\n\n", p.caption)
			t.write(&b)
		}
		if i == 0 {
			d.Summary.write(&b)
		}
	}
	d.waste(&b)
	d.notes(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// part is a table of the document: the rows of one unit, and of some workloads if it says
// which.
type part struct {
	unit    string
	has     func(workload.Kind) bool
	caption string
}

var parts = []part{
	{workload.PerOp, func(k workload.Kind) bool { return !k.ByRCU() },
		"ns per alloc+free pair and thread, and how many times slubd's time that is"},
	{workload.PerOp, func(k workload.Kind) bool { return k.ByRCU() && k != workload.RCUMap },
		"ns per read-side section, or per object allocated and freed after a grace period, and thread"},
	{workload.PerPeriod, nil, "ns per grace period, the median of a run's"},
	{workload.PerOp, func(k workload.Kind) bool { return k == workload.RCUMap }, "ns per operation on a map and thread"},
	{workload.PerCollection, nil, "ms per forced garbage collection with live objects"},
	{workload.PerByte, nil, "resident bytes per byte of payload, a million live objects"},
}

// table arranges the results of one part: rows by case, columns by entrant.
func (d Document) table(p part) table {
	var t table
	cells := map[string]map[string]runner.Result{} // by row, then allocator
	var rows, columns []string
	for _, r := range d.Results {
		if r.Unit != p.unit || p.has != nil && !p.has(workload.KindOf(r.Workload)) {
			continue
		}
		key := row(r)
		if cells[key] == nil {
			cells[key] = map[string]runner.Result{}
			rows = append(rows, key)
		}
		cells[key][r.Alloc] = r
		if !slices.Contains(columns, r.Alloc) {
			columns = append(columns, r.Alloc)
		}
	}
	order := workload.Entrants()
	slices.SortFunc(columns, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	t.head = []string{"workload", "threads", "size"}
	for _, alloc := range columns {
		t.head = append(t.head, heading(alloc, columns))
	}
	for _, key := range rows {
		line := strings.Split(key, "\t")
		for _, alloc := range columns {
			line = append(line, cell(cells[key], alloc))
		}
		t.rows = append(t.rows, line)
	}
	return t
}

// row is what distinguishes a row, tab-separated as it is printed.
func row(r runner.Result) string {
	size := fmt.Sprint(r.Size)
	if r.Size == 0 {
		size = "mixed"
	}
	return fmt.Sprintf("%s\t%d\t%s", r.Workload, r.Threads, size)
}

// cell is an allocator's median and its ratio to slubd's in the same row.
func cell(results map[string]runner.Result, alloc string) string {
	r, ok := results[alloc]
	if !ok {
		return "-"
	}
	base, ok := results[workload.Slubd]
	if alloc == workload.Slubd || !ok || base.Median <= 0 {
		return figure(r.Median)
	}
	return fmt.Sprintf("%s %*s", figure(r.Median), ratioWidth, "x"+figure(r.Median/base.Median))
}

// ratioWidth is the room of a ratio behind a time.
const ratioWidth = 5

// heading names an allocator above the times, leaving the ratios' room free.
func heading(alloc string, columns []string) string {
	if alloc == workload.Slubd || !slices.Contains(columns, workload.Slubd) {
		return alloc
	}
	return alloc + strings.Repeat(" ", ratioWidth+1)
}

// figure shows about three digits.
func figure(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// table is text in columns, the first aligned to the left, the others to the right.
type table struct {
	head []string
	rows [][]string
}

func (t table) write(b *bytes.Buffer) {
	width := make([]int, len(t.head))
	for _, line := range append([][]string{t.head}, t.rows...) {
		for i, text := range line {
			width[i] = max(width[i], len(text))
		}
	}
	for _, line := range append([][]string{t.head}, t.rows...) {
		text := fmt.Sprintf("%-*s", width[0], line[0])
		for i := 1; i < len(line); i++ {
			text += fmt.Sprintf("  %*s", width[i], line[i])
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
}
