package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// list prints what could be measured.
func list(w io.Writer, libraries []native.Library, dirs []string) error {
	var b bytes.Buffer
	b.WriteString("workloads:\n")
	for _, l := range workload.Catalog() {
		fmt.Fprintf(&b, "  %-20s  %-13s  %s%s\n", l.Name, l.Unit, l.About, participants(l))
	}
	b.WriteString("\nallocators, and what else is compared:\n")
	for _, about := range [][2]string{
		{workload.Slubd, "this library"},
		{workload.Go, "new, on the Go heap"},
		{workload.Pool, "sync.Pool"},
		{workload.SyncMap, "sync.Map"},
		{workload.Sharded, "64 maps, each with a sync.RWMutex"},
	} {
		fmt.Fprintf(&b, "  %-20s  %s\n", about[0], about[1])
	}
	for _, l := range libraries {
		fmt.Fprintf(&b, "  %-20s  %s\n", l.Alloc, whereabouts(l, dirs))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// participants says who takes part where not all do, by the shorter list.
func participants(w workload.Workload) string {
	without := slices.DeleteFunc(workload.Allocators(), w.Has)
	switch {
	case len(without) == 0:
		return ""
	case len(without) < len(w.Allocs) && !w.Kind.ByRCU() && !w.WholeHeap():
		return " (without " + strings.Join(without, ", ") + ")"
	}
	return " (only " + strings.Join(w.Allocs, ", ") + ")"
}

// whereabouts says which library a native allocator would run with.
func whereabouts(l native.Library, dirs []string) string {
	path, err := l.Find(dirs)
	switch {
	case err != nil:
		return err.Error()
	case path == "":
		return "the C library's malloc, C loops"
	case l.Rival != nil:
		if err := l.Rival.Check(); err != nil {
			return err.Error()
		}
		return l.Rival.About + " with " + path + ", C loops"
	}
	return path + ", C loops"
}

// describe prints the machine, as JSON in a document without results.
func describe(w io.Writer, o options) error {
	d := report.New(environment(), o.choice.Seed, o.benchTime, o.count, runner.Report{})
	if o.json {
		return d.JSON(w)
	}
	return d.Machine(w)
}
