package loghist

import (
	"math"
	"testing"
	"time"
)

// Each duration is in the one bucket whose bounds it lies between.
func TestBuckets(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 953, 954, time.Microsecond, 1908, time.Millisecond, time.Second, time.Second + 1,
		1024 * time.Second, 1025 * time.Second, math.MaxInt64} {
		var r Recorder
		r.Observe(d)
		h := r.Read()
		at := -1
		for i, n := range h.Buckets {
			if n == 1 && at < 0 {
				at = i
			} else if n != 0 {
				t.Errorf("%v is in bucket %d, too", d, i)
			}
		}
		seconds := max(d, 0).Seconds()
		if at < 0 || seconds > Bound(at) || at > 0 && seconds <= Bound(at-1) {
			t.Errorf("%v is in bucket %d", d, at)
		}
		if h.Count != 1 || h.Sum != max(d, 0) {
			t.Errorf("%v: count %d, sum %v", d, h.Count, h.Sum)
		}
	}
}

func TestBounds(t *testing.T) {
	if Bound(20) != 1 || Exponent(20) != 0 || Bound(NumBuckets-2) != 1024 || !math.IsInf(Bound(NumBuckets-1), 1) {
		t.Errorf("bounds %v, %v, %v; exponent %d", Bound(20), Bound(NumBuckets-2), Bound(NumBuckets-1), Exponent(20))
	}
}
