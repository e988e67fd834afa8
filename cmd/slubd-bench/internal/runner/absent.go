package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// noteAbsent says which workloads are not measured because none of the implementations has them,
// and, of those that were asked for by name, what each of them lacks. Tables show only a dash, or
// no row or column at all.
func (r *run) noteAbsent(cases []Case) {
	lacks := map[string][]string{} // workloads by implementation
	var seen []string
	for _, c := range cases {
		w := c.Workload
		if slices.Contains(seen, w.Name) {
			continue
		}
		seen = append(seen, w.Name)
		if !slices.ContainsFunc(r.cfg.Names, w.Has) {
			r.report.Notes = append(r.report.Notes, fmt.Sprintf("%s is not measured: %s", w.Name, Only(w)))
			continue
		}
		for _, name := range r.cfg.Names {
			if !w.Has(name) {
				lacks[name] = append(lacks[name], w.Name)
			}
		}
	}
	for _, name := range r.cfg.Names {
		if r.cfg.Named && len(lacks[name]) > 0 {
			r.report.Notes = append(r.report.Notes, name+" does not have "+strings.Join(lacks[name], ", "))
		}
	}
}

// Only says which implementations have a workload.
func Only(w workload.Workload) string {
	names := slices.DeleteFunc(workload.Implementations(), func(name string) bool { return !w.Has(name) })
	return "only " + strings.Join(names, ", ") + " can run it"
}
