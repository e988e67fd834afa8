package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
)

// Text writes the comparison for a person: what else differs, a table for each unit, and a verdict.
func (c *Comparison) Text(w io.Writer) error {
	var b bytes.Buffer
	c.write(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// Verdict returns the lines at the end of the text: slubd's regressions, or that there are none.
func (c *Comparison) Verdict() []string {
	var b bytes.Buffer
	c.verdict(&b)
	return lines(b.String())
}

func (c *Comparison) write(b *bytes.Buffer) {
	if c == nil {
		return
	}
	fmt.Fprintf(b, "\ncompared with %s: medians, their intervals of at least %.0f %%, and the chance p that runs which don't\n"+
		"differ look as different (Mann-Whitney); ~ where p is %v or more\n", c.Old, 100*stat.Confidence, stat.Alpha)
	for _, warning := range c.Warnings {
		fmt.Fprintf(b, "warning: %s\n", warning)
	}
	var units []string
	for _, r := range c.Rows {
		if !slices.Contains(units, r.Unit) {
			units = append(units, r.Unit)
		}
	}
	for _, unit := range units {
		fmt.Fprintf(b, "\n%s\n\n", unit)
		c.table(unit).write(b)
	}
	b.WriteString("\n")
	missing(b, "not measured now", c.OnlyOld)
	missing(b, "not in "+c.Old, c.OnlyNew)
	if c.OtherRows > 0 {
		fmt.Fprintf(b, "the %s of others than slubd take %s times what they took, in the geometric mean: what differs from 1 there\n"+
			"is not slubd's doing\n", count(c.OtherRows, "row"), figure(c.Others))
	}
	c.verdict(b)
}

// table has a line for each row and implementation of a unit.
func (c *Comparison) table(unit string) table {
	t := table{head: []string{"workload", "threads", "size", "alloc", "old", "new", "change", "p"}}
	for _, r := range c.Rows {
		if r.Unit != unit {
			continue
		}
		change := "~"
		if r.Significant {
			change = fmt.Sprintf("%+.1f%%", 100*r.Change)
		}
		if r.Regression {
			change = "REGRESSION " + change
		}
		line := strings.Split(row(runner.Result{Workload: r.Workload, Threads: r.Threads, Size: r.Size}), "\t")
		t.lines = append(t.lines, append(line, r.Alloc, r.Old.Text(), r.New.Text(), change, fmt.Sprintf("%.3f", r.P)))
	}
	return t
}

// Text returns the median and how far its interval reaches.
func (s Side) Text() string {
	return figure(s.Median) + within(runner.Result{Median: s.Median, Interval: s.Interval})
}

// shownMissing is how many rows are named that only one side has.
const shownMissing = 10

// missing names rows that have no counterpart.
func missing(b *bytes.Buffer, where string, rows []string) {
	if len(rows) == 0 {
		return
	}
	more := ""
	if n := len(rows) - shownMissing; n > 0 {
		rows, more = rows[:shownMissing], fmt.Sprintf(", and %d more", n)
	}
	fmt.Fprintf(b, "%s: %s%s\n", where, strings.Join(rows, "; "), more)
}

// rowName names a row and an implementation in a line of text.
func rowName(r runner.Result) string {
	f := strings.Split(row(r), "\t")
	return fmt.Sprintf("%s, %s, size %s, %s", f[0], count(r.Threads, "thread"), f[2], r.Alloc)
}

// verdict is the last line.
func (c *Comparison) verdict(b *bytes.Buffer) {
	list := c.Regressions()
	if len(list) == 0 {
		fmt.Fprintf(b, "no significant regression of slubd by more than %.3g %%\n", 100*c.Threshold)
		return
	}
	fmt.Fprintf(b, "%s of slubd by more than %.3g %%:\n", count(len(list), "regression"), 100*c.Threshold)
	for _, r := range list {
		name := rowName(runner.Result{Workload: r.Workload, Threads: r.Threads, Size: r.Size, Alloc: r.Alloc})
		fmt.Fprintf(b, "  %s: %s -> %s %s, %+.1f%%, p = %.3f\n", name, figure(r.Old.Median), figure(r.New.Median), r.Unit, 100*r.Change, r.P)
	}
}
