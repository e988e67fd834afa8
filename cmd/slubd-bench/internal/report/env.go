package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Machine writes for a person what -env shows: where results would come from
// and what may disturb them.
func (d Document) Machine(w io.Writer) error {
	var b bytes.Buffer
	d.machine(&b)
	e := d.Env
	for _, line := range [][2]string{
		{"GOMAXPROCS", fmt.Sprint(e.GOMAXPROCS)},
		{"cgo", yes(e.Cgo)},
		{"transparent huge pages", e.HugePages},
		{"frequency governor", e.Governor},
		{"load averages", e.Load},
	} {
		fmt.Fprintf(&b, "%-24s%s\n", line[0], cmp.Or(line[1], "unknown"))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// machine is the head of all texts.
func (d Document) machine(b *bytes.Buffer) {
	e := d.Env
	fmt.Fprintf(b, "slubd-bench   engine %s", e.Engine)
	if e.EngineReason != "" {
		fmt.Fprintf(b, " (%s)", e.EngineReason)
	}
	fmt.Fprintf(b, "\n%s, %s, %s\n", cmp.Or(e.CPU, e.Arch), count(e.CPUs, "CPU"), count(e.Nodes, "NUMA node"))
	fmt.Fprintf(b, "%s, %s", e.Kernel, e.Go)
	if e.GOAMD64 != "" {
		fmt.Fprintf(b, " (GOAMD64=%s)", e.GOAMD64)
	}
	if e.CCompiler != "" {
		fmt.Fprintf(b, ", C loops by %s", e.CCompiler)
	}
	b.WriteString("\n")
	d.versions(b, workload.Allocators())
	d.versions(b, workload.Rivals())
	if e.Race {
		b.WriteString("built with the race detector: the figures say nothing about speed\n")
	}
}

// versions writes a line on what was loaded for those of entrants that are C libraries.
func (d Document) versions(b *bytes.Buffer, entrants []string) {
	var list []string
	for _, name := range entrants {
		switch v := d.Versions[name]; {
		case v == "":
		case strings.HasPrefix(v, name+" "):
			list = append(list, v)
		default:
			list = append(list, name+" is "+v)
		}
	}
	if len(list) > 0 {
		b.WriteString(strings.Join(list, ", ") + "\n")
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
