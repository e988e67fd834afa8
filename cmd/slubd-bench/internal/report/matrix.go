package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/stat"
)

// matrices writes -numa's results: a table for each way to free, by nodes and by L3 groups.
func (d Document) matrices(b *bytes.Buffer) {
	if len(d.Matrix) == 0 {
		return
	}
	b.WriteString("\nns to allocate an object on the node of the row + to free it on that of the column, and how much of what\n" +
		"was allocated the kernel has on another node than it should be\n")
	kind := func(c runner.Crossing) string { return fmt.Sprintf("%s %s %d", c.By, c.Method, c.Size) }
	var kinds []string
	for _, c := range d.Matrix {
		if !slices.Contains(kinds, kind(c)) {
			kinds = append(kinds, kind(c))
		}
	}
	for _, k := range kinds {
		var cells []runner.Crossing
		for _, c := range d.Matrix {
			if kind(c) == k {
				cells = append(cells, c)
			}
		}
		b.WriteString("\n")
		matrix(cells).write(b)
		widest(b, cells)
	}
}

// widest writes how far the intervals of one table's medians reach at most.
func widest(b *bytes.Buffer, cells []runner.Crossing) {
	most, known := 0.0, false
	for _, c := range cells {
		if c.AllocInterval != nil && c.FreeInterval != nil {
			known = true
			most = max(most, c.AllocInterval.Share(c.AllocNs), c.FreeInterval.Share(c.FreeNs))
		}
	}
	if known {
		fmt.Fprintf(b, "the medians lie within %s or less\n", stat.Reach(most))
	}
}

// matrix arranges the cells of one way to free.
func matrix(cells []runner.Crossing) table {
	by := map[string]string{runner.ByNode: "node", runner.ByL3: "L3"}[cells[0].By]
	t := table{head: []string{fmt.Sprintf("%s, %d bytes", cells[0].Method, cells[0].Size)}}
	var rows, columns []string
	at := map[[2]string]string{}
	for _, c := range cells {
		row, column := fmt.Sprintf("%s %d", by, c.Alloc), fmt.Sprintf("%s %d", by, c.Free)
		if c.MemoryOnly {
			row += " (memory only, AllocNode)"
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
		if !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
		at[[2]string{row, column}] = fmt.Sprintf("%s+%s %*s", figure(c.AllocNs), figure(c.FreeNs), shareWidth, remoteShare(c))
	}
	for _, column := range columns {
		t.head = append(t.head, column+strings.Repeat(" ", shareWidth+1))
	}
	for _, row := range rows {
		line := []string{row}
		for _, column := range columns {
			text := at[[2]string{row, column}]
			if text == "" {
				text = "-"
			}
			line = append(line, text)
		}
		t.lines = append(t.lines, line)
	}
	return t
}

// shareWidth is the width of a share behind times.
const shareWidth = 7

// remoteShare writes the share of remote objects, a question mark if the kernel didn't tell.
func remoteShare(c runner.Crossing) string {
	if c.Objects == 0 {
		return "?"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(c.Remote)/float64(c.Objects))
}

// matrixLines writes the matrix in Go's benchmark format.
func (d Document) matrixLines(b *bytes.Buffer) {
	for _, c := range d.Matrix {
		fmt.Fprintf(b, "BenchmarkNUMA/by=%s/alloc=%d/free=%d/method=%s/size=%d\t%d\t%.4f alloc-ns/op\t%.4f free-ns/op",
			c.By, c.Alloc, c.Free, c.Method, c.Size, c.N, c.AllocNs, c.FreeNs)
		if c.Objects > 0 {
			fmt.Fprintf(b, "\t%.6f remote/op", float64(c.Remote)/float64(c.Objects))
		}
		b.WriteString("\n")
	}
}
