package report

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// waste writes how much more than they were asked for the allocators gave, by class: a
// table of ratios, of which the last line is over all of malloc-mix's sizes.
func (d Document) waste(b *bytes.Buffer) {
	byAlloc := map[string][]workload.ClassBytes{}
	for _, r := range d.Results {
		if classes, ok := r.Extra[runner.Classes].([]workload.ClassBytes); ok {
			byAlloc[r.Alloc] = classes
		}
	}
	if len(byAlloc) == 0 {
		return
	}
	t := table{head: []string{"bytes asked"}}
	lines := make([][]string, len(workload.Classes())+1)
	last := workload.Classes()[0]
	for i, class := range workload.Classes() {
		lines[i] = []string{fmt.Sprintf("%d to %d", last, class)}
		last = class + 1
	}
	lines[len(lines)-1] = []string{"all"}
	for _, alloc := range slices.DeleteFunc(workload.Allocators(), func(a string) bool { return byAlloc[a] == nil }) {
		t.head = append(t.head, alloc)
		var all workload.ClassBytes
		for i, c := range byAlloc[alloc] {
			lines[i] = append(lines[i], ratio(c))
			all.Asked += c.Asked
			all.Given += c.Given
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], ratio(all))
	}
	t.rows = lines
	b.WriteString("\nbytes given per byte asked for, malloc-mix's sizes by the kernel's size classes\n\n")
	t.write(b)
}

func ratio(c workload.ClassBytes) string {
	if c.Asked == 0 {
		return "-"
	}
	return figure(float64(c.Given) / float64(c.Asked))
}
