package loops

import (
	"runtime/metrics"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// counters are the runtime's own totals. Around a timed loop their difference
// proves that an allocator neither allocates on the Go heap nor calls into C.
type counters struct{ allocs, cgo uint64 }

func readCounters() counters {
	samples := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/cgo/go-to-c-calls:calls"},
	}
	metrics.Read(samples[:])
	return counters{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

// perOp relates what happened since before to ops operations. Other
// goroutines count too: a run of a million pairs sees a few dozen objects of
// the bench itself, and so does the remainder of a span that the runtime
// accounts for when it is used up.
func (c counters) perOp(before counters, ops int) map[string]float64 {
	return map[string]float64{
		workload.GoAllocs: float64(c.allocs-before.allocs) / float64(ops),
		workload.CgoCalls: float64(c.cgo-before.cgo) / float64(ops),
	}
}
