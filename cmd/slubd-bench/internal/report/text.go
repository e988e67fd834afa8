package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Text writes the document for a person: the machine, a table per unit, and notes.
func (d Document) Text(w io.Writer) error {
	var b bytes.Buffer
	d.machine(&b)
	fmt.Fprintf(&b, "medians of %s of %s each, seed %d; %s\n",
		count(d.Env.Count, "interleaved run"), d.Env.BenchTime, d.Env.Seed, intervalsNote(d.Env.Count))
	d.Env.Pin.write(&b)
	if d.Env.Scaling {
		d.curves(&b)
		d.notes(&b)
		d.Comparison.write(&b)
		_, err := w.Write(b.Bytes())
		return err
	}
	for i, p := range parts {
		if t := d.table(p); len(t.lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n\n", p.caption)
			t.write(&b)
		}
		if i == 0 {
			d.Summary.write(&b)
		}
	}
	d.tails(&b)
	d.matrices(&b)
	d.overhead(&b)
	d.notes(&b)
	d.Comparison.write(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// intervalsNote says what the figures behind the medians are, or why there are none.
func intervalsNote(runs int) string {
	if runs < stat.LeastRuns {
		return fmt.Sprintf("their intervals need %d runs", stat.LeastRuns)
	}
	return fmt.Sprintf("behind each its interval of at least %.0f %%", 100*stat.Confidence)
}

// part is a table of the document: the results of one unit, and of some workloads if has is set.
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

// table arranges the results of one part: a line for each case, a column for each implementation.
func (d Document) table(p part) table {
	cells := map[string]map[string]runner.Result{} // by row, then implementation
	var rows, columns []string
	intervals := false
	for _, r := range d.Results {
		if r.Unit != p.unit || p.has != nil && !p.has(workload.KindOf(r.Workload)) {
			continue
		}
		intervals = intervals || r.Interval != nil
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
	slices.SortFunc(columns, workload.Compare)
	t := table{head: []string{"workload", "threads", "size"}}
	for _, name := range columns {
		t.head = append(t.head, heading(name, columns, intervals))
	}
	for _, key := range rows {
		line := strings.Split(key, "\t")
		for _, name := range columns {
			line = append(line, cell(cells[key], name))
		}
		t.lines = append(t.lines, line)
	}
	return t
}

// row is what distinguishes a row of a table, separated by tabs.
func row(r runner.Result) string {
	size := fmt.Sprint(r.Size)
	if r.Size == 0 {
		size = "mixed"
	}
	return fmt.Sprintf("%s\t%d\t%s", r.Workload, r.Threads, size)
}

// cell is an implementation's median with its interval, and its ratio to slubd's in the same row.
func cell(results map[string]runner.Result, name string) string {
	r, ok := results[name]
	if !ok {
		return "-"
	}
	text := figure(r.Median) + within(r)
	base, ok := results[workload.Slubd]
	if name == workload.Slubd || !ok || base.Median <= 0 {
		return text
	}
	return fmt.Sprintf("%s %*s", text, ratioWidth, "x"+figure(r.Median/base.Median))
}

// within writes how far the interval of a median reaches, nothing if the runs are too few for one.
func within(r runner.Result) string {
	if r.Interval == nil {
		return ""
	}
	return fmt.Sprintf(" %*s", intervalWidth, stat.Reach(r.Interval.Share(r.Median)))
}

// Widths of an interval and of a ratio behind a time.
const intervalWidth, ratioWidth = 4, 5

// heading puts an implementation's name above the times, to the left of intervals and ratios.
func heading(name string, columns []string, intervals bool) string {
	if intervals {
		name += strings.Repeat(" ", intervalWidth+1)
	}
	if strings.TrimSpace(name) == workload.Slubd || !slices.Contains(columns, workload.Slubd) {
		return name
	}
	return name + strings.Repeat(" ", ratioWidth+1)
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

// overhead writes how many bytes the allocators gave per byte asked for, by class. The last line
// is over all of malloc-mix's sizes.
func (d Document) overhead(b *bytes.Buffer) {
	given := map[string][]workload.ClassBytes{}
	for _, r := range d.Results {
		if classes, ok := r.Extra[runner.Classes].([]workload.ClassBytes); ok {
			given[r.Alloc] = classes
		}
	}
	if len(given) == 0 {
		return
	}
	t := table{head: []string{"bytes asked"}}
	least := workload.Classes()[0]
	for _, class := range workload.Classes() {
		t.lines = append(t.lines, []string{fmt.Sprintf("%d to %d", least, class)})
		least = class + 1
	}
	t.lines = append(t.lines, []string{"all"})
	add := func(i int, c workload.ClassBytes) {
		text := "-"
		if c.Asked > 0 {
			text = figure(float64(c.Given) / float64(c.Asked))
		}
		t.lines[i] = append(t.lines[i], text)
	}
	for _, name := range workload.Allocators() {
		if given[name] == nil {
			continue
		}
		t.head = append(t.head, name)
		var all workload.ClassBytes
		for i, c := range given[name] {
			add(i, c)
			all.Asked += c.Asked
			all.Given += c.Given
		}
		add(len(t.lines)-1, all)
	}
	b.WriteString("\nbytes given per byte asked for, malloc-mix's sizes by the kernel's size classes\n\n")
	t.write(b)
}

// table is text in columns, the first aligned to the left, the others to the right.
type table struct {
	head  []string
	lines [][]string
}

func (t table) write(b *bytes.Buffer) {
	lines := append([][]string{t.head}, t.lines...)
	width := make([]int, len(t.head))
	for _, line := range lines {
		for i, text := range line {
			width[i] = max(width[i], utf8.RuneCountInString(text))
		}
	}
	for _, line := range lines {
		text := fmt.Sprintf("%-*s", width[0], line[0])
		for i := 1; i < len(line); i++ {
			text += fmt.Sprintf("  %*s", width[i], line[i])
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
}
