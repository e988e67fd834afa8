package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// ErrNotComparable reports a file that -compare has no use for.
var ErrNotComparable = errors.New("is no JSON document of slubd-bench with the values of its runs")

// Load reads a document that JSON has written, to be compared.
func Load(path string) (Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Document{}, err
	}
	var d Document
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("%s %w: %w", path, ErrNotComparable, err)
	}
	if !slices.ContainsFunc(d.Results, usable) {
		return d, fmt.Errorf("%s %w", path, ErrNotComparable)
	}
	return d, nil
}

// usable reports whether a result has runs, none of which took no time or less.
func usable(r runner.Result) bool { return len(r.Values) > 0 && slices.Min(r.Values) > 0 }

// Comparison sets two documents against each other, row by row. Field names are stable.
type Comparison struct {
	Old       string  `json:"old"`           // file
	New       string  `json:"new,omitempty"` // file; empty: the document around this one
	Threshold float64 `json:"threshold"`     // share by which a median may grow
	// Warnings are differences between the two that may be behind those of the figures.
	Warnings []string `json:"warnings"`
	Rows     []Change `json:"rows"`
	// OnlyOld and OnlyNew are rows that the other document doesn't have.
	OnlyOld []string `json:"only_old,omitempty"`
	OnlyNew []string `json:"only_new,omitempty"`
	// Others is the geometric mean of new to old medians in the rows of others than slubd, and
	// OtherRows their number. They run the same code in both, so it shows what else has changed.
	Others    float64 `json:"others_geomean"`
	OtherRows int     `json:"other_rows"`
}

// Change is a row of one implementation in both documents. Field names are stable.
type Change struct {
	Workload string `json:"workload"`
	Alloc    string `json:"alloc"`
	Threads  int    `json:"threads"`
	Size     int    `json:"size"` // bytes; 0 where they are mixed
	Unit     string `json:"unit"`
	Old      Side   `json:"old"`
	New      Side   `json:"new"`
	// Change is the new median divided by the old one, less 1.
	Change float64 `json:"change"`
	// P is the probability that runs which don't differ look as different, by Mann-Whitney's test;
	// Significant says that it is below stat.Alpha.
	P           float64 `json:"p"`
	Significant bool    `json:"significant"`
	// Regression says that slubd got significantly slower, or larger, and by more than the
	// threshold.
	Regression bool `json:"regression"`
}

// Side is one document's part of a Change. Field names are stable.
type Side struct {
	Median   float64        `json:"median"`
	Interval *stat.Interval `json:"interval,omitempty"` // nil if the runs are too few
	N        int            `json:"n"`                  // runs
}

// Compare sets d against an older document.
func (d Document) Compare(old Document, oldName string, threshold float64) *Comparison {
	c := &Comparison{Old: oldName, Threshold: threshold, Warnings: differences(old.Env, d.Env), Rows: []Change{}}
	c.Warnings = append(c.Warnings, versionsDiffer(old.Versions, d.Versions)...)
	sum := 0.0
	few := false
	for _, r := range d.Results {
		was, ok := old.find(r)
		switch {
		case !ok:
			c.OnlyNew = append(c.OnlyNew, rowName(r))
			continue
		case !usable(r) || !usable(was):
			c.Warnings = append(c.Warnings, rowName(r)+" is left out: it has no runs, or some of no time")
			continue
		}
		row := compareRow(was, r, threshold)
		c.Rows = append(c.Rows, row)
		few = few || !stat.CanDiffer(row.Old.N, row.New.N)
		if !ours(r.Alloc) {
			sum += math.Log(1 + row.Change)
			c.OtherRows++
		}
	}
	if c.OtherRows > 0 {
		c.Others = math.Round(math.Exp(sum/float64(c.OtherRows))*1e4) / 1e4
	}
	for _, r := range old.Results {
		if _, ok := d.find(r); !ok {
			c.OnlyOld = append(c.OnlyOld, rowName(r))
		}
	}
	if few {
		c.Warnings = append(c.Warnings, "some rows have too few runs to show any difference: give both sides 6 or more")
	}
	return c
}

// compareRow sets two results of the same row and implementation against each other.
func compareRow(was, is runner.Result, threshold float64) Change {
	c := Change{Workload: is.Workload, Alloc: is.Alloc, Threads: is.Threads, Size: is.Size, Unit: is.Unit,
		Old: side(was), New: side(is), P: stat.P(was.Values, is.Values)}
	change := c.New.Median/c.Old.Median - 1
	c.Change = math.Round(change*1e4) / 1e4
	c.Significant = c.P < stat.Alpha
	c.Regression = c.Significant && change > threshold && ours(is.Alloc)
	return c
}

// ours reports whether an implementation is of this library: a regression of it counts.
func ours(alloc string) bool { return alloc == workload.Slubd || alloc == workload.Local }

func side(r runner.Result) Side {
	s := Side{N: len(r.Values)}
	s.Median, s.Interval = stat.Of(r.Values)
	return s
}

// find returns d's result of the same row, implementation and unit.
func (d Document) find(r runner.Result) (runner.Result, bool) {
	i := slices.IndexFunc(d.Results, func(o runner.Result) bool {
		return row(o) == row(r) && o.Alloc == r.Alloc && o.Unit == r.Unit
	})
	if i < 0 {
		return runner.Result{}, false
	}
	return d.Results[i], true
}

// Regressions returns the rows in which slubd got worse.
func (c *Comparison) Regressions() (rows []Change) {
	for _, r := range c.Rows {
		if r.Regression {
			rows = append(rows, r)
		}
	}
	return rows
}

// JSON writes the comparison alone, indented.
func (c *Comparison) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(c)
}
