// Package machine describes where results were measured: what a reader needs
// to compare them with others, and nothing that needs privileges.
package machine

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// Env is the "env" object of the JSON document. Field names are stable.
type Env struct {
	Engine       string `json:"engine"`                  // "rseq" or "trylock"
	EngineReason string `json:"engine_reason,omitempty"` // why it is not the first choice
	CPUs         int    `json:"cpus"`                    // that this process may use
	CPU          string `json:"cpu,omitempty"`           // model name
	Nodes        int    `json:"nodes"`                   // NUMA nodes online
	Kernel       string `json:"kernel"`
	Go           string `json:"go"`
	GOAMD64      string `json:"goamd64,omitempty"`    // the level of instructions that Go code uses
	CCompiler    string `json:"c_compiler,omitempty"` // of the C loops; set by who has them
	OS           string `json:"os"`
	Arch         string `json:"arch"`
	GOMAXPROCS   int    `json:"gomaxprocs"`
	Cgo          bool   `json:"cgo"`
	Race         bool   `json:"race,omitempty"`       // figures of such builds mean nothing
	HugePages    string `json:"huge_pages,omitempty"` // transparent_hugepage/enabled
	Governor     string `json:"governor,omitempty"`   // of CPU 0
	Load         string `json:"load,omitempty"`       // load averages before the first run
}

// Describe looks at this machine.
func Describe() Env {
	return Env{
		Engine:       percpu.Engine(),
		EngineReason: percpu.Reason(),
		CPUs:         runtime.NumCPU(),
		CPU:          strings.TrimSpace(cpuid.CPU.BrandName),
		Nodes:        numa.System().NodeCount(),
		Kernel:       kernel(),
		Go:           runtime.Version(),
		GOAMD64:      setting("GOAMD64"),
		OS:           runtime.GOOS,
		Arch:         runtime.GOARCH,
		GOMAXPROCS:   runtime.GOMAXPROCS(0),
		Cgo:          cgo,
		Race:         race,
		HugePages:    chosen(read("/sys/kernel/mm/transparent_hugepage/enabled")),
		Governor:     read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Load:         averages(read("/proc/loadavg")),
	}
}

// setting is one of this build's, empty if it has none of that name.
func setting(name string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == name {
			return s.Value
		}
	}
	return ""
}

// read returns a file's text, or nothing where there is none.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// chosen picks the bracketed word of a sysfs choice like "always [madvise] never".
func chosen(text string) string {
	_, rest, ok := strings.Cut(text, "[")
	if !ok {
		return text
	}
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// averages picks the three figures of /proc/loadavg.
func averages(text string) string {
	fields := strings.Fields(text)
	return strings.Join(fields[:min(3, len(fields))], " ")
}
