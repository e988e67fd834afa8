package stat

import (
	"slices"
	"testing"
)

func TestIntervalNeedsSixRuns(t *testing.T) {
	values := []float64{7, 1, 3, 2, 6, 5, 4}
	for n := 1; n <= len(values); n++ {
		median, i := Of(values[:n])
		if (i != nil) != (n >= LeastRuns) {
			t.Errorf("%d runs: %+v", n, i)
		}
		if i != nil && (i.Low > median || i.High < median || i.Confidence < Confidence) {
			t.Errorf("%d runs: %v in %+v", n, median, i)
		}
	}
	if !slices.Equal(values, []float64{7, 1, 3, 2, 6, 5, 4}) {
		t.Error("the runs were sorted in place")
	}
	median, i := Of(values)
	if median != 4 || *i != (Interval{1, 7, i.Confidence}) {
		t.Errorf("%v in %+v", median, i)
	}
	if share := i.Share(median); share != 0.75 {
		t.Errorf("the interval reaches %v from the median", share)
	}
	if median, _ := Of([]float64{1, 2, 3, 10}); median != 2.5 {
		t.Errorf("the median of an even number is %v", median)
	}
	for share, want := range map[float64]string{0: "±0%", 0.026: "±3%", 9.99: "±999%", 10: "±>999%", 4391.7: "±>999%"} {
		if got := Reach(share); got != want {
			t.Errorf("%v is written %s, not %s", share, got, want)
		}
	}
	if share := (Interval{}).Share(0); share != 0 {
		t.Errorf("a median of 0 has a share of %v", share)
	}
}

// TestP has lists whose p values are known: for n and n runs that do not overlap it is 2/C(2n, n).
func TestP(t *testing.T) {
	low, high := []float64{4, 3, 2, 1}, []float64{5, 6, 7, 8}
	if p := P(low, high); p < 0.0285 || p > 0.0286 {
		t.Errorf("four and four apart: p = %v, not 2/70", p)
	}
	if p := P(low[:3], high[:3]); p < 0.099 || p >= 0.101 {
		t.Errorf("three and three apart: p = %v, not 2/20", p)
	}
	for _, c := range [][2][]float64{{nil, low}, {low, nil}, {{1, 1, 1, 1}, {1, 1, 1, 1}}, {low, low}} {
		if p := P(c[0], c[1]); p < 0.9 {
			t.Errorf("%v and %v: p = %v", c[0], c[1], p)
		}
	}
	if !slices.Equal(low, []float64{4, 3, 2, 1}) {
		t.Error("the runs were sorted in place")
	}
	for n := 1; n <= len(low); n++ {
		for m := 1; m <= len(high); m++ {
			if p := P(low[:n], high[:m]); (p < Alpha) != CanDiffer(n, m) {
				t.Errorf("%d and %d runs can differ: %v, p = %v", n, m, CanDiffer(n, m), p)
			}
		}
	}
	if CanDiffer(0, 100) || CanDiffer(100, 0) || !CanDiffer(3, 5) {
		t.Error("no runs can differ from some, or three from five cannot")
	}
}
