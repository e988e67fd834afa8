package workload

import (
	"cmp"
	"slices"
)

// Pause counts the times that Go's collector has stopped the world in the timed part of runs, by
// how long: at most Ns, and more than the next smaller bound of runtime/metrics. Field names are
// stable.
type Pause struct {
	Ns    float64 `json:"at_most_ns"`
	Count uint64  `json:"count"`
}

// AddPauses adds up two lists that are sorted by time.
func AddPauses(a, b []Pause) []Pause {
	var sum []Pause
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Pause) int { return cmp.Compare(x.Ns, y.Ns) })
	for _, p := range all {
		if n := len(sum); n > 0 && sum[n-1].Ns == p.Ns {
			sum[n-1].Count += p.Count
			continue
		}
		sum = append(sum, p)
	}
	return sum
}

// PauseAt returns the time that a share of the pauses doesn't exceed, 0 without any.
func PauseAt(list []Pause, share float64) (ns float64) {
	var all, seen uint64
	for _, p := range list {
		all += p.Count
	}
	for _, p := range list {
		ns = p.Ns
		if seen += p.Count; float64(seen) >= share*float64(all) {
			break
		}
	}
	return ns
}
