package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// Machine describes where results were measured: what a reader needs to compare them with others,
// and nothing that needs privileges. Field names are stable.
type Machine struct {
	Engine       string `json:"engine"`                  // "rseq" or "trylock"
	EngineReason string `json:"engine_reason,omitempty"` // why it is not the first choice
	CPUs         int    `json:"cpus"`                    // number that this process may use
	CPU          string `json:"cpu,omitempty"`           // model name
	Nodes        int    `json:"nodes"`                   // NUMA nodes online
	Kernel       string `json:"kernel"`
	Go           string `json:"go"`
	GOAMD64      string `json:"goamd64,omitempty"`    // instructions that Go code uses
	CCompiler    string `json:"c_compiler,omitempty"` // of the C loops
	OS           string `json:"os"`
	Arch         string `json:"arch"`
	GOMAXPROCS   int    `json:"gomaxprocs"`
	Cgo          bool   `json:"cgo"`
	Race         bool   `json:"race,omitempty"`       // figures of such builds mean nothing
	HugePages    string `json:"huge_pages,omitempty"` // transparent_hugepage/enabled
	Governor     string `json:"governor,omitempty"`   // of CPU 0
	Load         string `json:"load,omitempty"`       // load averages before the first run

	NUMA        *machine.Machine  `json:"numa,omitempty"` // nodes, and what may spoil figures
	Differences []numa.Difference `json:"-"`              // between sysfs and cpuid
}

// Describe looks at this machine.
func Describe() Machine {
	topology := numa.System()
	kernel := strings.TrimSpace(read("/proc/sys/kernel/ostype") + " " + read("/proc/sys/kernel/osrelease"))
	return Machine{
		Engine:       percpu.Engine(),
		EngineReason: percpu.Reason(),
		CPUs:         runtime.NumCPU(),
		CPU:          strings.TrimSpace(cpuid.CPU.BrandName),
		Nodes:        topology.NodeCount(),
		Kernel:       cmp.Or(kernel, runtime.GOOS),
		Go:           runtime.Version(),
		GOAMD64:      setting("GOAMD64"),
		CCompiler:    native.Compiler(),
		OS:           runtime.GOOS,
		Arch:         runtime.GOARCH,
		GOMAXPROCS:   runtime.GOMAXPROCS(0),
		Cgo:          setting("CGO_ENABLED") == "1",
		Race:         setting("-race") == "true",
		HugePages:    machine.Chosen(read("/sys/kernel/mm/transparent_hugepage/enabled")),
		Governor:     read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Load:         averages(read("/proc/loadavg")),
		Differences:  topology.CrossCheck(),
	}
}

// setting returns one of this build's settings, empty if there is none of that name.
func setting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
	if i < 0 {
		return ""
	}
	return info.Settings[i].Value
}

// read returns a file's text, or nothing if the file cannot be read.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// averages returns the three averages of /proc/loadavg.
func averages(text string) string {
	fields := strings.Fields(text)
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// Machine writes for a person what env shows: the machine and what may spoil results.
func (d Document) Machine(w io.Writer) error {
	var b bytes.Buffer
	d.machine(&b)
	e := d.Env
	cgo := "no"
	if e.Cgo {
		cgo = "yes"
	}
	topology := "no differences between sysfs and cpuid"
	for i, difference := range e.Differences {
		if i == 0 {
			topology = "sysfs and cpuid disagree (slubd uses sysfs): " + difference.String()
		} else {
			topology += "; " + difference.String()
		}
	}
	for _, line := range [][2]string{
		{"topology", topology},
		{"GOMAXPROCS", fmt.Sprint(e.GOMAXPROCS)},
		{"cgo", cgo},
	} {
		fmt.Fprintf(&b, "%-12s%s\n", line[0], line[1])
	}
	if e.NUMA != nil {
		b.WriteString("\n")
		if err := e.NUMA.Text(&b); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// MachineLines returns what Text writes about the machine.
func (d Document) MachineLines() []string {
	var b bytes.Buffer
	d.machine(&b)
	return lines(b.String())
}

// machine writes the head of all texts.
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
	d.versions(b, workload.Others())
	if e.Native != "" {
		fmt.Fprintf(b, "native libraries, except glibc, are those of %s\n", e.Native)
	}
	if e.Race {
		b.WriteString("built with the race detector: the figures say nothing about speed\n")
	}
}

// versions writes a line with the versions of those implementations that are C libraries.
func (d Document) versions(b *bytes.Buffer, names []string) {
	var list []string
	for _, name := range names {
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

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
