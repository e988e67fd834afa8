package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// catalog is what could be measured, and the JSON that -list -json prints. Field names are
// stable.
type catalog struct {
	Workloads []listed  `json:"workloads"`
	Entrants  []entrant `json:"entrants"`
}

// listed is a workload with who takes part.
type listed struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit"`
	About    string   `json:"about"`
	Entrants []string `json:"entrants"`
	note     string   // on who takes part, for people
}

// entrant is an allocator, or what else is compared.
type entrant struct {
	Name  string `json:"name"`
	About string `json:"about"` // what it is and where, or what to install
}

func newCatalog(libraries []native.Library, dirs []string) catalog {
	var c catalog
	for _, w := range workload.Catalog() {
		has := slices.DeleteFunc(workload.Entrants(), func(name string) bool { return !w.Has(name) })
		c.Workloads = append(c.Workloads, listed{w.Name, w.Unit, w.About, has, participants(w)})
	}
	c.Entrants = []entrant{
		{workload.Slubd, "this library"},
		{workload.Go, "new, on the Go heap"},
		{workload.Pool, "sync.Pool"},
		{workload.SyncMap, "sync.Map"},
		{workload.Sharded, "64 maps, each with a sync.RWMutex"},
	}
	for _, l := range libraries {
		c.Entrants = append(c.Entrants, entrant{l.Alloc, whereabouts(l, dirs)})
	}
	return c
}

// list prints what could be measured.
func (o options) list(w io.Writer, libraries []native.Library, dirs []string) error {
	c := newCatalog(libraries, dirs)
	if o.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}
	var b bytes.Buffer
	b.WriteString("workloads:\n")
	for _, l := range c.Workloads {
		fmt.Fprintf(&b, "  %-20s  %-13s  %s%s\n", l.Name, l.Unit, l.About, l.note)
	}
	b.WriteString("\nallocators, and what else is compared:\n")
	for _, e := range c.Entrants {
		fmt.Fprintf(&b, "  %-20s  %s\n", e.Name, e.About)
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
