package report

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// notes says below the tables what they don't show: missing allocators,
// failures, heap operations on slubd's paths, and how far to trust it all.
func (d Document) notes(b *bytes.Buffer) {
	b.WriteString("\n")
	if load, _, _ := strings.Cut(d.Env.Load, " "); busy(load, d.Env.CPUs) {
		fmt.Fprintf(b, "the machine was busy before the first run (load %s on %s): expect noise\n", load, count(d.Env.CPUs, "CPU"))
	}
	for _, m := range d.Missing {
		fmt.Fprintf(b, "%s: %s\n", m.Alloc, m.Reason)
	}
	for _, f := range d.Failures {
		fmt.Fprintf(b, "FAILED %s, threads %d, size %d, %s: %s\n", f.Workload, f.Threads, f.Size, f.Alloc, firstLine(f.Error))
	}
	for _, r := range d.Results {
		if r.Unit == workload.PerCollection {
			fmt.Fprintf(b, "%s, %s: marking takes %s ms of CPU time, the world stops for %s ms\n",
				r.Workload, r.Alloc, figure(extra(r, "mark_cpu_ms")), figure(extra(r, "pause_ms")))
		}
		if r.Unit == workload.PerPeriod {
			fmt.Fprintf(b, "%s, %s: %s ns in the mean, %s ns or less in 99 of 100\n",
				r.Workload, r.Alloc, figure(extra(r, workload.MeanPeriod)), figure(extra(r, workload.LongPeriod)))
		}
		if r.Unit == workload.PerByte {
			fmt.Fprintf(b, "%s, %s: %.1f %% of the peak stay after everything was freed, %.1f %% after a purge\n",
				r.Workload, r.Alloc, 100*extra(r, "left_of_peak"), 100*extra(r, "left_after_purge"))
		}
	}
	d.purity(b)
	if spread, ok := d.spread(); ok {
		fmt.Fprintf(b, "spread of the runs, (max-min)/median: %.0f %% in the middle row\n", 100*spread)
	}
}

// busy reports a load average of more than half of the CPUs.
func busy(load string, cpus int) bool {
	x, err := strconv.ParseFloat(load, 64)
	return err == nil && x > float64(cpus)/2
}

// extra is a numeric extra of r, 0 without it.
func extra(r runner.Result, name string) float64 {
	x, _ := r.Extra[name].(float64)
	return x
}

// firstLine leaves a crash's stack to the JSON document.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// purity says that slubd hardly allocated on the Go heap or called into C, or where it did.
func (d Document) purity(b *bytes.Buffer) {
	clean, seen := true, false
	for _, r := range d.Results {
		if r.Alloc != workload.Slubd || r.Unit != workload.PerOp {
			continue
		}
		seen = true
		for _, name := range []string{workload.GoAllocs, workload.CgoCalls} {
			if x := extra(r, name); x >= impure {
				clean = false
				fmt.Fprintf(b, "slubd, %s: %s %.4f\n", r.Workload, name, x)
			}
		}
	}
	if seen && clean {
		fmt.Fprintf(b, "slubd: fewer than %v Go allocations and cgo calls per operation in each row\n", impure)
	}
}

// impure is the rate from which something happens per operation; below it
// lie the few dozen objects that the runtime and the bench allocate in a run.
const impure = 0.01

// spread is the median over all results of the runs' range.
func (d Document) spread() (float64, bool) {
	var all []float64
	for _, r := range d.Results {
		if r.N > 1 && r.Median > 0 {
			all = append(all, (r.Max-r.Min)/r.Median)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/2], true
}
