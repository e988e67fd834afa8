//go:build cgo && linux

package native

import (
	"math/rand/v2"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// TestBucketsOfCAreThoseOfGo compares the index of many times, and what a merge makes of them.
func TestBucketsOfCAreThoseOfGo(t *testing.T) {
	if buckets != tail.Buckets {
		t.Fatalf("C has %d buckets, Go %d", buckets, tail.Buckets)
	}
	values := []int64{0, 1, 127, 128, 255, 256, 257, 511, 512, 513, tail.Highest - 1, tail.Highest}
	random := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		values = append(values, random.Int64N(tail.Highest)>>random.IntN(36))
	}
	counts := make([]int64, tail.CountsPerThread())
	want := tail.NewHistogram()
	for _, v := range values {
		counts[bucket(v)]++
		if err := want.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	got := tail.FromThreads(counts)
	if h := got[tail.Own[tail.Alloc]]; len(got) != 1 || !h.Equals(want) {
		t.Errorf("%d histograms; C's differs from Go's", len(got))
	}
}

// TestTailTimesEveryCall checks that C records each of its calls, with either clock.
func TestTailTimesEveryCall(t *testing.T) {
	for _, w := range workload.Catalog() {
		if !w.Kind.ByTail() || !w.Has(workload.Malloc) {
			continue
		}
		for _, system := range []bool{false, true} {
			spec := w.Spec(2, 64, 1).Small().WithOps(500)
			spec.SystemClock = system
			sample, err := Run(spec)
			if err != nil {
				t.Fatal(err)
			}
			if tsc := sample.Extra[workload.TimerTSC] > 0; tsc && system {
				t.Errorf("%s: the time-stamp counter is read", w.Name)
			}
			for _, name := range []string{"alloc", "alloc_response", "free", "free_response"} {
				h, err := hdrhistogram.Decode([]byte(sample.Latency[name]))
				if err != nil || h.TotalCount() != int64(spec.Pairs()) {
					t.Errorf("%s, %s: %v, %v, want %d calls", w.Name, name, h, err, spec.Pairs())
				}
			}
		}
	}
}
