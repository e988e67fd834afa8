package workload

import (
	"path/filepath"
	"regexp"
	"strings"
)

// Trace is the kind of the workloads that replay a recorded trace. They are not in the catalogue:
// each is of a file that a user names. An operation is an object's allocation and free, and the
// threads each replay the whole trace, from its beginning to its end and again.
const Trace Kind = "trace"

// tracePrefix begins their names.
const tracePrefix = "trace-"

// OfTrace returns the workload of a trace's file.
func OfTrace(file string) Workload {
	name := filepath.Base(file)
	for _, extension := range []string{".gz", ".trace"} {
		name = strings.TrimSuffix(name, extension)
	}
	// Names become those of Go benchmarks, which are of words joined by dashes.
	if name = strings.Trim(regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(name, "-"), "-"); name == "" {
		name = "file"
	}
	return Workload{
		Name: tracePrefix + name, Kind: Trace, Unit: PerOp, Trace: file,
		Names: append([]string{Slubd, Go, Pool}, Natives()...),
		About: "what " + file + " has recorded",
	}
}
