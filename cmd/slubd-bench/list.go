package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// catalog is what can be measured, and the JSON that -list -json prints. Field names are stable.
type catalog struct {
	Workloads       []listed         `json:"workloads"`
	Implementations []implementation `json:"entrants"`
}

// listed is a workload and the implementations that can run it.
type listed struct {
	Name            string   `json:"name"`
	Unit            string   `json:"unit"`
	About           string   `json:"about"`
	Default         bool     `json:"default"` // part of the suite that runs without -run
	Implementations []string `json:"entrants"`
	note            string   // on the implementations, for people
}

// implementation is an allocator, or what else is compared with slubd.
type implementation struct {
	Name  string `json:"name"`
	About string `json:"about"` // what it is and where, or what to install
}

func newCatalog(libraries []native.Library, dirs []string) catalog {
	var c catalog
	for _, w := range workload.Catalog() {
		names := slices.DeleteFunc(workload.Implementations(), func(name string) bool { return !w.Has(name) })
		c.Workloads = append(c.Workloads, listed{w.Name, w.Unit, w.About, w.Default, names, note(w)})
	}
	for _, name := range []string{workload.Slubd, workload.Local, workload.Go, workload.Pool, workload.SyncMap, workload.Sharded} {
		c.Implementations = append(c.Implementations, implementation{name, workload.AboutImplementation(name)})
	}
	for _, l := range libraries {
		c.Implementations = append(c.Implementations, implementation{l.Name, l.Describe(dirs)})
	}
	return c
}

// note says which implementations run a workload if not all allocators do, by the shorter list.
func note(w workload.Workload) string {
	without := slices.DeleteFunc(workload.Allocators(), w.Has)
	switch {
	case len(without) == 0:
		return ""
	case len(without) < len(w.Names) && !w.Kind.ByRCU() && !w.Kind.WholeHeap():
		return " (without " + strings.Join(without, ", ") + ")"
	}
	return " (only " + strings.Join(w.Names, ", ") + ")"
}

// list prints what can be measured.
func (o options) list(w io.Writer, libraries []native.Library, dirs []string) error {
	c := newCatalog(libraries, dirs)
	if o.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(c)
	}
	var b bytes.Buffer
	for _, part := range []struct {
		title     string
		byDefault bool
	}{
		{"workloads of the default suite:", true},
		{"\nmore workloads; -run . runs all:", false},
	} {
		fmt.Fprintln(&b, part.title)
		for _, l := range c.Workloads {
			if l.Default == part.byDefault {
				fmt.Fprintf(&b, "  %-20s  %-13s  %s%s\n", l.Name, l.Unit, l.About, l.note)
			}
		}
	}
	b.WriteString("\nand with -trace FILE what a program has recorded, as trace-FILE\n")
	b.WriteString("\nallocators, and what else is compared:\n")
	for _, e := range c.Implementations {
		fmt.Fprintf(&b, "  %-20s  %s\n", e.Name, e.About)
	}
	_, err := w.Write(b.Bytes())
	return err
}
