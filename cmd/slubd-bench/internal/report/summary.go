package report

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Summary is the "summary" object of the JSON document. Field names are stable. Rows are those that
// counts names.
type Summary struct {
	// GeoMean is the geometric mean, over the rows that slubd and a native allocator have, of
	// slubd's median divided by the least native one.
	GeoMean float64 `json:"geomean_vs_best_native"`
	Rows    int     `json:"rows"`
	// Natives has the same for each native allocator alone, in the order of the table's columns.
	Natives []Versus `json:"natives"`
}

// Versus compares slubd with one native allocator. Field names are stable.
type Versus struct {
	Alloc   string  `json:"alloc"`
	GeoMean float64 `json:"geomean"` // slubd's median divided by the allocator's
	Rows    int     `json:"rows"`    // number of those that both have
}

// maxSummaryThreads is the most threads of a row that counts.
const maxSummaryThreads = 2

// counts reports whether a row is one of the summary's: those of the workloads from pair to
// malloc-mix, with one and two threads.
func counts(r runner.Result) bool {
	return r.Unit == workload.PerOp && r.Median > 0 && r.Threads <= maxSummaryThreads &&
		workload.KindOf(r.Workload).InSummary()
}

// summarize returns nil if there is no row to compare.
func summarize(results []runner.Result) *Summary {
	ours := map[string]float64{} // slubd's medians by row
	for _, r := range results {
		if counts(r) && r.Alloc == workload.Slubd {
			ours[row(r)] = r.Median
		}
	}
	var s Summary
	best := map[string]float64{}
	for _, name := range workload.Natives() {
		theirs := map[string]float64{}
		for _, r := range results {
			if !counts(r) || r.Alloc != name {
				continue
			}
			key := row(r)
			theirs[key] = r.Median
			if least, ok := best[key]; !ok || r.Median < least {
				best[key] = r.Median
			}
		}
		if mean, rows := geoMean(ours, theirs); rows > 0 {
			s.Natives = append(s.Natives, Versus{name, mean, rows})
		}
	}
	s.GeoMean, s.Rows = geoMean(ours, best)
	if s.Rows == 0 {
		return nil
	}
	return &s
}

// geoMean returns the geometric mean of the quotients of the rows that both have, and the number of
// these.
func geoMean(ours, theirs map[string]float64) (mean float64, rows int) {
	sum := 0.0
	for key, median := range theirs {
		if own, ok := ours[key]; ok {
			sum += math.Log(own / median)
			rows++
		}
	}
	if rows == 0 {
		return 0, 0
	}
	return math.Round(math.Exp(sum/float64(rows))*1e4) / 1e4, rows
}

// write adds the lines below the table of times.
func (s *Summary) write(b *bytes.Buffer) {
	if s == nil {
		return
	}
	var list []string
	for _, n := range s.Natives {
		text := figure(n.GeoMean) + " of " + n.Alloc
		if n.Rows != s.Rows {
			text += " (" + count(n.Rows, "row") + ")"
		}
		list = append(list, text)
	}
	fmt.Fprintf(b, "\ngeometric mean of %s: slubd takes %s times as long as the best native allocator of each;\nof each alone: %s\n"+
		"(rows from pair to malloc-mix with one and two threads, without bulk and prefill, which malloc does not have)\n",
		count(s.Rows, "row"), figure(s.GeoMean), strings.Join(list, ", "))
}
