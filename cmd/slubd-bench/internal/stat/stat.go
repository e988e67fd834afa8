// Package stat condenses the runs of a row to what can be said of them: a median with the interval
// that it lies in, and whether two rows differ. It assumes nothing about how the figures are
// distributed (golang.org/x/perf/benchmath, AssumeNothing), as benchstat doesn't.
//
// It keeps the lists that it is given as they are, has no state, and any goroutine may call it.
package stat

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

const (
	// Confidence is the least level of an Interval.
	Confidence = 0.95
	// Alpha is the probability below which two rows count as different.
	Alpha = 0.05
	// LeastRuns is the least number of runs with an Interval.
	LeastRuns = 6
)

// Interval is where a median lies, by the order of the runs. Field names are stable.
type Interval struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // level of this interval, at least Confidence
}

// Of returns the median of at least one value and its interval, nil for fewer than LeastRuns.
func Of(values []float64) (median float64, i *Interval) {
	s := benchmath.AssumeNothing.Summary(sample(values), Confidence)
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) {
		return s.Center, nil
	}
	return s.Center, &Interval{s.Lo, s.Hi, s.Confidence}
}

// Share is the larger distance from the median to an end of the interval, as a share of the median.
func (i Interval) Share(median float64) float64 {
	if median == 0 {
		return 0
	}
	return max(i.High-median, median-i.Low) / median
}

// Reach writes a share as a percentage around a median. From ten times the median on it doesn't
// matter how far an interval reaches.
func Reach(share float64) string {
	if share >= 10 {
		return "±>999%"
	}
	return fmt.Sprintf("±%.0f%%", 100*share)
}

// P returns the probability that two lists of runs which don't differ look as different as these
// do, by the Mann-Whitney U test. It is 1 if they have too few values, or the same one throughout.
func P(old, now []float64) float64 {
	if len(old) == 0 || len(now) == 0 {
		return 1
	}
	return benchmath.AssumeNothing.Compare(sample(old), sample(now)).P
}

// CanDiffer reports whether P can be below Alpha for lists of such lengths: it is 2 divided by the
// number of ways to choose one's runs from all, where they don't overlap.
func CanDiffer(old, now int) bool {
	ways := 1.0
	for i := 1; i <= old; i++ {
		ways *= float64(now+i) / float64(i)
	}
	return old > 0 && now > 0 && 2/ways < Alpha
}

// sample copies the values, because benchmath sorts them.
func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.Thresholds{CompareAlpha: Alpha})
}
