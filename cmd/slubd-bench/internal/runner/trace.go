package runner

import (
	"errors"
	"fmt"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// noteTraces says what is known about the traces of cases.
func (r *run) noteTraces(cases []Case) {
	for _, c := range cases {
		if c.Workload.Kind != workload.Trace {
			continue
		}
		cycle, err := replay.Load(c.Workload.Trace)
		if err == nil && !slices.Contains(r.report.Notes, cycle.Note) {
			r.report.Notes = append(r.report.Notes, cycle.Note)
		}
	}
}

// errChecksum reports a run that didn't free the objects that it allocated, each once and in the
// order of the trace.
var errChecksum = errors.New("the objects of the trace were not what they should be")

// replayed compares a run of a trace with what the trace says.
func replayed(s workload.Spec, sample workload.Sample) error {
	if s.Kind != workload.Trace {
		return nil
	}
	cycle, err := replay.Load(s.Trace)
	if err != nil {
		return err
	}
	if want := cycle.Checksum(s.Weight()) * uint64(s.Threads); sample.Checksum != want {
		return fmt.Errorf("%w: the checksum is %#x instead of %#x", errChecksum, sample.Checksum, want)
	}
	return nil
}
