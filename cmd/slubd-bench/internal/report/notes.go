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

// notes writes below the tables what they do not show: missing implementations, failures, extras,
// and how far to trust the figures.
func (d Document) notes(b *bytes.Buffer) {
	b.WriteString("\n")
	if load, _, _ := strings.Cut(d.Env.Load, " "); busy(load, d.Env.CPUs) {
		fmt.Fprintf(b, "the machine was busy before the first run (load %s on %s): expect noise\n", load, count(d.Env.CPUs, "CPU"))
	}
	for _, note := range d.Notes {
		fmt.Fprintln(b, note)
	}
	for _, m := range d.Missing {
		fmt.Fprintf(b, "%s: %s\n", m.Alloc, m.Reason)
	}
	for _, f := range d.Failures {
		reason, _, _ := strings.Cut(f.Error, "\n") // the JSON document has a crash's stack
		fmt.Fprintf(b, "FAILED %s, threads %d, size %d, %s: %s\n", f.Workload, f.Threads, f.Size, f.Alloc, reason)
	}
	for _, r := range d.Results {
		if share, ok := r.Extra[workload.RemoteShare].(float64); ok {
			fmt.Fprintf(b, "%s, %s: %.1f %% of the live objects lie on another node than they should\n", r.Workload, r.Alloc, 100*share)
		}
		if quiet := extra(r, workload.Undisturbed); quiet > 0 {
			fmt.Fprintf(b, "%s, %s: p99.9 of Alloc is %.2f times that of a run without, in the same process\n", r.Workload, r.Alloc, r.Median/quiet)
		}
		switch r.Unit {
		case workload.PerCollection:
			fmt.Fprintf(b, "%s, %s: marking takes %s ms of CPU time, the world stops for %s ms\n",
				r.Workload, r.Alloc, figure(extra(r, "mark_cpu_ms")), figure(extra(r, "pause_ms")))
		case workload.PerPeriod:
			fmt.Fprintf(b, "%s, %s: %s ns in the mean, %s ns or less in 99 of 100\n",
				r.Workload, r.Alloc, figure(extra(r, workload.MeanPeriod)), figure(extra(r, workload.LongPeriod)))
		case workload.PerByte:
			fmt.Fprintf(b, "%s, %s: %.1f %% of the peak stay after everything was freed, %.1f %% after a purge\n",
				r.Workload, r.Alloc, 100*extra(r, "left_of_peak"), 100*extra(r, "left_after_purge"))
		}
	}
	d.allocFree(b)
	if spread, ok := d.Spread(); ok {
		fmt.Fprintf(b, "spread of the runs, (max-min)/median: %.0f %% in the middle row\n", 100*spread)
	}
}

// busy reports a load average of more than half of the CPUs.
func busy(load string, cpus int) bool {
	x, err := strconv.ParseFloat(load, 64)
	return err == nil && x > float64(cpus)/2
}

// extra returns a numeric extra of r, 0 if it has none of that name.
func extra(r runner.Result, name string) float64 {
	x, _ := r.Extra[name].(float64)
	return x
}

// perOpLimit is the rate at which something happens in every operation. Below it are the few dozen
// objects that the runtime and the bench allocate in a run.
const perOpLimit = 0.01

// allocFree writes that slubd does not allocate on the Go heap or call into C, or where it does.
func (d Document) allocFree(b *bytes.Buffer) {
	clean, seen := true, false
	for _, r := range d.Results {
		if r.Alloc != workload.Slubd || r.Unit != workload.PerOp {
			continue
		}
		seen = true
		for _, name := range []string{workload.GoAllocs, workload.CgoCalls} {
			if x := extra(r, name); x >= perOpLimit {
				clean = false
				fmt.Fprintf(b, "slubd, %s: %s %.4f\n", r.Workload, name, x)
			}
		}
	}
	if seen && clean {
		fmt.Fprintf(b, "slubd: fewer than %v Go allocations and cgo calls per operation in each row\n", perOpLimit)
	}
}

// NoteLines returns what Text writes below the tables.
func (d Document) NoteLines() []string {
	var b bytes.Buffer
	d.notes(&b)
	return lines(b.String())
}

// lines splits a text into the lines that have something in them.
func lines(text string) (list []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// Spread is the median, over all results, of the range of the runs. ok is false without several
// runs of anything.
func (d Document) Spread() (spread float64, ok bool) {
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
