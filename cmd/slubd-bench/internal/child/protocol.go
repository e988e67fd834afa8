package child

import "github.com/slubd/slubd/cmd/slubd-bench/internal/workload"

// Env marks a process as a child.
const Env = "SLUBD_BENCH_CHILD"

// Op is what a request asks for.
type Op string

const (
	Hello    Op = "hello"    // verify that malloc comes from the library exporting Symbol
	Load     Op = "load"     // load the rival's library at Path
	Run      Op = "run"      // measure Spec with the C loops
	Build    Op = "build"    // make the population that Collect collects
	Collect  Op = "collect"  // force a collection
	Resident Op = "resident" // measure resident bytes
)

// Request is one line to a child. Symbol belongs to Hello, Path to Load, Spec to Run and
// Build, Alloc to Build and Resident.
type Request struct {
	Op     Op            `json:"op"`
	Symbol string        `json:"symbol,omitempty"`
	Path   string        `json:"path,omitempty"`
	Alloc  string        `json:"alloc,omitempty"`
	Spec   workload.Spec `json:"spec"`
}

// Answer is the line that comes back.
type Answer struct {
	Error    string          `json:"error,omitempty"`
	Provider string          `json:"provider,omitempty"` // Hello: the file that malloc comes from
	Version  string          `json:"version,omitempty"`  // Hello: its name and version
	Sample   workload.Sample `json:"sample"`
}
