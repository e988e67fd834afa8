package loops

import (
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// shownEvents are the counters of slubd that a scaling curve shows, by the names of extras.
var shownEvents = map[string]slub.Event{
	workload.BarnGetFail:  slub.BarnGetFail,
	workload.FreeSlowpath: slub.FreeSlowpath,
}

// events adds up shownEvents over all caches of this process, in which the bench alone uses slubd.
// Only runs with chunks of slubd have them: to read them takes longer than a short run.
func (s *Session) events(spec workload.Spec) map[string]uint64 {
	if !s.slubd || spec.Chunk == 0 {
		return nil
	}
	sums := map[string]uint64{}
	for c := range slub.Caches() {
		stats := c.Stats()
		for name, e := range shownEvents {
			sums[name] += stats.Events[e]
		}
	}
	return sums
}
