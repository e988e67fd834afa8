package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
)

// GoBench writes every run as a line of Go's benchmark format, so that
//
//	slubd-bench -format gobench > out && benchstat -col /alloc out
//
// compares the allocators, and two files compare two machines or versions.
func (d Document) GoBench(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range [][2]string{
		{"goos", d.Env.OS}, {"goarch", d.Env.Arch}, {"pkg", "github.com/slubd/slubd/cmd/slubd-bench"},
		{"cpu", d.Env.CPU}, {"kernel", d.Env.Kernel}, {"go-version", d.Env.Go}, {"c-compiler", d.Env.CCompiler},
		{"slubd-engine", d.Env.Engine}, {"numa-nodes", fmt.Sprint(d.Env.Nodes)},
		{"seed", fmt.Sprint(d.Env.Seed)},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	for _, r := range d.Results {
		for _, v := range r.Values {
			fmt.Fprintf(&b, "%s\t%d\t%.4f %s\n", name(r, d.Env.GOMAXPROCS), max(1, r.Ops), v, r.Unit)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// name is the benchmark's: the workload in camel case, then its parameters.
func name(r runner.Result, procs int) string {
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
