package report

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// curve is one workload with one size, for all numbers of threads.
type curve struct {
	name    string
	size    int
	results []runner.Result
}

// curves writes -scaling's results: a table for each workload.
func (d Document) curves(b *bytes.Buffer) {
	var list []curve
	for _, r := range d.Results {
		i := slices.IndexFunc(list, func(c curve) bool { return c.name == r.Workload && c.size == r.Size })
		if i < 0 {
			i, list = len(list), append(list, curve{name: r.Workload, size: r.Size})
		}
		list[i].results = append(list[i].results, r)
	}
	if len(list) > 0 {
		b.WriteString("\nmillions of alloc+free pairs in a second of all threads together, and behind them the ns of a pair in the\n" +
			"slowest of 1000 stretches of at least 128 pairs; of slubd, how often in 1000 pairs a barn had no full sheaf\n" +
			"(barn_get_fail) and an object went directly to its slab (free_slowpath)\n")
	}
	for _, c := range list {
		size := fmt.Sprintf("%d bytes", c.size)
		if c.size == 0 {
			size = "mixed sizes"
		}
		fmt.Fprintf(b, "\n%s, %s\n\n", c.name, size)
		c.table().write(b)
	}
}

// table has a line for each number of threads.
func (c curve) table() table {
	var threads []int
	var names []string
	for _, r := range c.results {
		if !slices.Contains(threads, r.Threads) {
			threads = append(threads, r.Threads)
		}
		if !slices.Contains(names, r.Alloc) {
			names = append(names, r.Alloc)
		}
	}
	slices.Sort(threads)
	slices.SortFunc(names, workload.Compare)
	t := table{head: []string{"threads"}}
	for _, name := range names {
		t.head = append(t.head, name, "p99.9")
		if name == workload.Slubd {
			t.head = append(t.head, workload.BarnGetFail[:len("barn_get_fail")], workload.FreeSlowpath[:len("free_slowpath")])
		}
	}
	for _, n := range threads {
		line := []string{fmt.Sprint(n)}
		for _, name := range names {
			i := slices.IndexFunc(c.results, func(r runner.Result) bool { return r.Alloc == name && r.Threads == n })
			line = append(line, c.cells(i, name == workload.Slubd)...)
		}
		t.lines = append(t.lines, line)
	}
	return t
}

// cells are what a line says of the i-th result, dashes if that is -1.
func (c curve) cells(i int, counters bool) []string {
	cells := []string{"-", "-"}
	if counters {
		cells = append(cells, "-", "-")
	}
	if i < 0 {
		return cells
	}
	r := c.results[i]
	cells[0] = figure(workload.KindOf(r.Workload).Throughput(r.Threads, r.Median)) + within(r)
	cells[1] = figure(extra(r, workload.Tail))
	if counters {
		cells[2], cells[3] = figure(extra(r, workload.BarnGetFail)), figure(extra(r, workload.FreeSlowpath))
	}
	return cells
}
