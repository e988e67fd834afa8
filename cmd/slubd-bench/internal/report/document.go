// Package report prints what the runner measured, and on which machine: a table for people, one
// JSON document for programs, or Go's benchmark format for benchstat.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
)

// Document is everything that was measured, and the JSON that -json prints. Field names are stable.
type Document struct {
	Env      Env               `json:"env"`
	Results  []runner.Result   `json:"results"`
	Summary  *Summary          `json:"summary,omitempty"` // nil if there is nothing to compare
	Failures []runner.Failure  `json:"failures,omitempty"`
	Missing  []runner.Missing  `json:"missing,omitempty"`
	Matrix   []runner.Crossing `json:"numa_matrix,omitempty"` // of -numa
	Notes    []string          `json:"notes,omitempty"`
	// Versions are those of the native implementations, as the libraries that were loaded tell them
	// or, where they have no function for that, the files beside them.
	Versions map[string]string `json:"versions,omitempty"`
	// Memory is what was resident over time, nil without -html.
	Memory *runner.Memory `json:"memory,omitempty"`
	// Comparison is that of -compare, nil without it.
	Comparison *Comparison `json:"comparison,omitempty"`
}

// Env is the machine and how the suite was run on it.
type Env struct {
	Machine
	Seed      uint64 `json:"seed"`
	BenchTime string `json:"benchtime"` // of one run, as a Go duration
	Count     int    `json:"count"`     // rounds asked for
	Pin       *Pin   `json:"pin,omitempty"`
	Scaling   bool   `json:"scaling,omitempty"` // whether the results are scaling curves
	Native    string `json:"native,omitempty"`  // directory of native libraries; empty: system's
	Time      string `json:"time,omitempty"`    // of the start, as RFC 3339 writes it
	// Flags are all that decide what is measured, by name, given or not.
	Flags map[string]string `json:"flags,omitempty"`
	// Environ has those variables of the environment that change how Go or slubd works.
	Environ map[string]string `json:"environ,omitempty"`
}

// Pin says how threads were pinned. Thread i is bound to the i-th of the CPUs, and to the first
// again after the last. Field names are stable.
type Pin struct {
	How  string `json:"how"` // "compact", "scatter" or a list
	CPUs []int  `json:"cpus"`
}

// how returns How, nothing if threads were not pinned.
func (p *Pin) how() string {
	if p == nil {
		return ""
	}
	return p.How
}

// write adds a line on how threads were pinned, nothing if they were not.
func (p *Pin) write(b *bytes.Buffer) {
	if p == nil {
		return
	}
	fmt.Fprintf(b, "thread i is pinned to the i-th of the CPUs %s", joined(p.CPUs))
	if p.How != joined(p.CPUs) {
		fmt.Fprintf(b, " (%s)", p.How)
	}
	b.WriteString("\n")
}

// shownCPUs is how many CPUs of an order are written out for a person.
const shownCPUs = 32

// joined writes CPUs in their order.
func joined(cpus []int) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(cpus[:min(len(cpus), shownCPUs)]), " ", ","), "[]")
	if more := len(cpus) - shownCPUs; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// New assembles a document.
func New(m Machine, seed uint64, bench time.Duration, count int, r runner.Report) Document {
	return Document{
		Env:      Env{Machine: m, Seed: seed, BenchTime: bench.String(), Count: count},
		Results:  append([]runner.Result{}, r.Results...), // [] rather than null
		Summary:  summarize(r.Results),
		Failures: r.Failures,
		Missing:  r.Missing,
		Matrix:   r.Matrix,
		Notes:    r.Notes,
		Memory:   r.Memory,
		Versions: r.Versions,
	}
}

// JSON writes the document, indented.
func (d Document) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// GoBench writes every run as a line of Go's benchmark format, so that
//
//	slubd-bench -format gobench > out && benchstat -col /alloc out
//
// compares the implementations, and two files compare two machines or versions.
func (d Document) GoBench(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range [][2]string{
		{"goos", d.Env.OS}, {"goarch", d.Env.Arch}, {"pkg", "github.com/slubd/slubd/cmd/slubd-bench"},
		{"cpu", d.Env.CPU}, {"kernel", d.Env.Kernel}, {"go-version", d.Env.Go}, {"c-compiler", d.Env.CCompiler},
		{"slubd-engine", d.Env.Engine}, {"numa-nodes", fmt.Sprint(d.Env.Nodes)},
		{"pin", d.Env.Pin.how()}, {"seed", fmt.Sprint(d.Env.Seed)},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	for _, r := range d.Results {
		for _, v := range r.Values {
			fmt.Fprintf(&b, "%s\t%d\t%.4f %s\n", benchName(r, d.Env.GOMAXPROCS), max(1, r.Ops), v, r.Unit)
		}
	}
	d.matrixLines(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// benchName is the name of a benchmark: the workload in camel case, then its parameters.
func benchName(r runner.Result, procs int) string {
	var camel strings.Builder
	for _, part := range strings.Split(r.Workload, "-") {
		camel.WriteRune(unicode.ToUpper(rune(part[0])))
		camel.WriteString(part[1:])
	}
	n := fmt.Sprintf("Benchmark%s/threads=%d/size=%d/alloc=%s", camel.String(), r.Threads, r.Size, r.Alloc)
	if procs > 1 {
		n += fmt.Sprintf("-%d", procs)
	}
	return n
}
