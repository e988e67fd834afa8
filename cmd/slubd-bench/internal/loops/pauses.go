package loops

import (
	"math"
	"runtime/metrics"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// readPauses returns the runtime's histogram of the pauses of its collector so far, in seconds.
func readPauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return &metrics.Float64Histogram{} // a release of Go without it
	}
	return sample[0].Value.Float64Histogram()
}

// pausesBetween returns the pauses that one histogram has and an earlier one hasn't.
func pausesBetween(before, after *metrics.Float64Histogram) (list []workload.Pause) {
	for i, n := range after.Counts {
		if i < len(before.Counts) {
			n -= before.Counts[i]
		}
		if n == 0 {
			continue
		}
		most := after.Buckets[i+1]
		if math.IsInf(most, 1) {
			most = after.Buckets[i] // the last bucket has no end
		}
		list = append(list, workload.Pause{Ns: math.Round(most * 1e9), Count: n})
	}
	return list
}
