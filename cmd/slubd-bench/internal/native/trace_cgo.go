//go:build cgo && linux

package native

import (
	"fmt"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// cycleOf returns the events of a trace's run, nil for other runs.
func cycleOf(s workload.Spec) (*replay.Replay, error) {
	if s.Kind != workload.Trace {
		return nil, nil
	}
	cycle, err := replay.Load(s.Trace)
	if err == nil && (s.Batch != cycle.Pairs() || s.Live != cycle.Objects) {
		return nil, fmt.Errorf("impossible run of a trace with %d objects: %+v", cycle.Pairs(), s)
	}
	return cycle, err
}
