package report

import (
	"bytes"
	"fmt"
	"math"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Summary is the "summary" object of the JSON document. Field names are stable.
type Summary struct {
	// GeoMean is the geometric mean, over the rows that slubd and a native allocator
	// ran alike, of slubd's median to the least native one. bulk and prefill aren't
	// among them; see workload.Kind.Extension.
	GeoMean float64 `json:"geomean_vs_best_native"`
	Rows    int     `json:"rows"`
}

// summarize returns nil where nothing can be compared.
func summarize(results []runner.Result) *Summary {
	ours, best := map[string]float64{}, map[string]float64{} // by row
	for _, r := range results {
		key := row(r)
		switch {
		case r.Unit != workload.PerOp || r.Median <= 0 || workload.KindOf(r.Workload).Extension():
		case r.Alloc == workload.Slubd:
			ours[key] = r.Median
		case workload.Native(r.Alloc):
			if least, ok := best[key]; !ok || r.Median < least {
				best[key] = r.Median
			}
		}
	}
	sum, rows := 0.0, 0
	for key, least := range best {
		if median, ok := ours[key]; ok {
			sum += math.Log(median / least)
			rows++
		}
	}
	if rows == 0 {
		return nil
	}
	return &Summary{GeoMean: math.Round(math.Exp(sum/float64(rows))*1e4) / 1e4, Rows: rows}
}

// write adds the line below the table of times.
func (s *Summary) write(b *bytes.Buffer) {
	if s != nil {
		fmt.Fprintf(b, "\ngeometric mean of %s: slubd takes %s times as long as the best native allocator of each\n"+
			"(without bulk and prefill, which malloc has nothing like: natives run batch and pair there)\n",
			count(s.Rows, "row"), figure(s.GeoMean))
	}
}
