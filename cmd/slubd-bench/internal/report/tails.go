package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// tails writes the workloads that time every call: for each a table with two lines per
// implementation, one of the calls alone and one with what they were late.
func (d Document) tails(b *bytes.Buffer) {
	var list []runner.Result
	for _, r := range d.Results {
		if r.Unit == workload.PerCall {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return
	}
	b.WriteString("\nns per call, unless a unit is shown. First line: from the call's actual start. Line +wait: from its\n" +
		"scheduled start, so that one slow call also delays the calls behind it.\n")
	for _, group := range byRow(list) {
		first := group[0]
		fmt.Fprintf(b, "\n%s, %s, %d bytes\n\n", first.Workload, count(first.Threads, "thread"), first.Size)
		tailTable(group).write(b)
		byRun(b, group)
	}
	b.WriteString("\n")
	timers(b, list)
}

// Groups returns the results of each row, in the order of the table's columns.
func (d Document) Groups() [][]runner.Result {
	groups := byRow(d.Results)
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b runner.Result) int { return workload.Compare(a.Alloc, b.Alloc) })
	}
	return groups
}

// byRow groups results by row, in the order of their first.
func byRow(results []runner.Result) (groups [][]runner.Result) {
	for _, r := range results {
		i := slices.IndexFunc(groups, func(g []runner.Result) bool { return row(g[0]) == row(r) })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

// byRun writes the figure that has a value for each run, and so an interval.
func byRun(b *bytes.Buffer, group []runner.Result) {
	var list []string
	for _, r := range group {
		if r.Interval != nil {
			list = append(list, fmt.Sprintf("%s %s %s", r.Alloc, duration(int64(r.Median)), stat.Reach(r.Interval.Share(r.Median))))
		}
	}
	if len(list) > 0 {
		fmt.Fprintf(b, "p99.9 of Alloc in each run, the median: %s\n", strings.Join(list, ", "))
	}
}

func tailTable(group []runner.Result) table {
	t := table{head: []string{""}}
	for _, call := range []string{"Alloc ", "Free "} {
		for _, point := range tail.PointNames() {
			t.head = append(t.head, call+point)
			call = ""
		}
	}
	for _, r := range group {
		latency, _ := r.Extra[runner.Latency].(map[string]tail.Latency)
		for i, names := range [][2]string{tail.Own, tail.Response} {
			line := []string{[]string{r.Alloc, "  +wait"}[i]}
			for _, name := range names {
				line = append(line, points(latency, name)...)
			}
			t.lines = append(t.lines, line)
		}
	}
	return t
}

// points are a distribution's columns, dashes where there is none: Go's heap has no Free.
func points(latency map[string]tail.Latency, name string) (cells []string) {
	l, ok := latency[name]
	for _, ns := range l.Points() {
		text := "-"
		if ok {
			text = duration(ns)
		}
		cells = append(cells, text)
	}
	return cells
}

// duration writes ns with three digits, and a unit if they are many.
func duration(ns int64) string {
	switch {
	case ns < 10_000:
		return fmt.Sprint(ns)
	case ns < 1_000_000:
		return figure(float64(ns)/1e3) + "us"
	}
	return figure(float64(ns)/1e6) + "ms"
}

// timers writes which clock was read, and the cost that each time contains. Those of one
// implementation are the same in all workloads, or nearly so.
func timers(b *bytes.Buffer, list []runner.Result) {
	var names, costs []string
	clock := "the system's clock, as the time-stamp counter is missing or not constant"
	for _, r := range list {
		if ghz := extra(r, workload.TimerTSC); ghz > 0 {
			clock = fmt.Sprintf("the time-stamp counter (%.3f GHz)", ghz)
		}
		if !slices.Contains(names, r.Alloc) {
			names = append(names, r.Alloc)
			costs = append(costs, fmt.Sprintf("%s %s", r.Alloc, figure(extra(r, workload.TimerCost))))
		}
	}
	fmt.Fprintf(b, "calls are timed by %s; each time contains the timer's own ns, which a call of nothing shows: %s\n",
		clock, strings.Join(costs, ", "))
}
