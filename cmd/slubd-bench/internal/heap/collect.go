package heap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Collect forces a collection. The value is its wall time in milliseconds;
// extras are the CPU time spent marking and the time the world stood still.
func (p *Population) Collect() workload.Sample {
	mark, pause := totals()
	begin := time.Now()
	runtime.GC()
	elapsed := time.Since(begin)
	markAfter, pauseAfter := totals()
	runtime.KeepAlive(p)
	return workload.Sample{
		Value:   milliseconds(elapsed),
		Elapsed: elapsed,
		Extra: map[string]float64{
			"mark_cpu_ms": (markAfter - mark) * 1e3,
			"pause_ms":    milliseconds(pauseAfter - pause),
		},
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// totals returns the CPU seconds spent marking and the pauses so far.
func totals() (mark float64, pause time.Duration) {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		mark += s.Value.Float64()
	}
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return mark, stats.PauseTotal
}
