package tail

import (
	"fmt"
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Latency is the distribution of one kind of call, in ns. Field names are stable.
type Latency struct {
	Calls  int64 `json:"calls"` // number
	P50    int64 `json:"p50_ns"`
	P99    int64 `json:"p99_ns"`
	P999   int64 `json:"p999_ns"`
	P9999  int64 `json:"p9999_ns"`
	P99999 int64 `json:"p99999_ns"`
	Max    int64 `json:"max_ns"`
	// HDR is the histogram itself, in the compressed V2 encoding that HdrHistogram's tools read.
	HDR string `json:"hdr"`
}

// Points returns the times in the order of the table's columns.
func (l Latency) Points() []int64 {
	return []int64{l.P50, l.P99, l.P999, l.P9999, l.P99999, l.Max}
}

// PointNames are the heads of these columns.
func PointNames() []string { return []string{"p50", "p99", "p99.9", "p99.99", "p99.999", "max"} }

// FromCounts makes a histogram of counts, which have the buckets of NewHistogram.
func FromCounts(counts []int64) *hdrhistogram.Histogram {
	return hdrhistogram.Import(&hdrhistogram.Snapshot{
		LowestTrackableValue: 1, HighestTrackableValue: Highest, SignificantFigures: digits, Counts: counts,
	})
}

// FromThreads adds up counts: for each thread and call, those from the start of the calls, then
// those from the intended start.
func FromThreads(counts []int64) map[string]*hdrhistogram.Histogram {
	all := map[string]*hdrhistogram.Histogram{}
	i := 0
	for part := range slices.Chunk(counts, Buckets) {
		call := i / 2 % calls
		merge(all, []string{Own[call], Response[call]}[i%2], FromCounts(part))
		i++
	}
	return all
}

// CountsPerThread is how many counts FromThreads expects of a thread.
func CountsPerThread() int { return 2 * calls * Buckets }

// Encode makes texts of histograms.
func Encode(all map[string]*hdrhistogram.Histogram) (map[string]string, error) {
	texts := map[string]string{}
	for name, h := range all {
		text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("encoding the histogram of %s: %w", name, err)
		}
		texts[name] = string(text)
	}
	return texts, nil
}

// Merge adds up the histograms of several runs, as Encode made them.
func Merge(runs []map[string]string) (map[string]Latency, error) {
	all := map[string]*hdrhistogram.Histogram{}
	for _, run := range runs {
		for name, text := range run {
			h, err := hdrhistogram.Decode([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("decoding the histogram of %s: %w", name, err)
			}
			merge(all, name, h)
		}
	}
	texts, err := Encode(all)
	list := map[string]Latency{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		h := all[name]
		p := h.ValueAtPercentile
		list[name] = Latency{
			Calls: h.TotalCount(), P50: p(50), P99: p(99), P999: p(99.9), P9999: p(99.99), P99999: p(99.999),
			Max: h.Max(), HDR: texts[name],
		}
	}
	return list, err
}

// Report puts the times of a run, the clock and its cost in ns into a sample.
func Report(sample *workload.Sample, all map[string]*hdrhistogram.Histogram, clock Clock, cost int64) (err error) {
	if sample.Latency, err = Encode(all); err != nil {
		return err
	}
	sample.Value = float64(all[Own[Alloc]].ValueAtPercentile(99.9))
	if sample.Extra == nil {
		sample.Extra = map[string]float64{}
	}
	sample.Extra[workload.TimerCost] = float64(cost)
	sample.Extra[workload.TimerTSC] = 0
	if clock.TSC {
		sample.Extra[workload.TimerTSC] = (1 << 32) / float64(clock.Scale)
	}
	return nil
}

// ClockOf returns the clock of a run.
func ClockOf(s workload.Spec) Clock {
	if s.SystemClock {
		return SystemClock
	}
	return Best()
}
