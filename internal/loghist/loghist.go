// Package loghist counts durations in buckets whose bounds are powers of two of a second, which
// Prometheus has as a native histogram of schema 0 and as a classic one alike.
//
//	Recorder.Observe -> one bucket's counter -> Recorder.Read -> a Histogram -> metrics
//
// There is no lock: every word is an atomic counter. Observe costs two additions to lines that
// all observers share, so it belongs on slow paths only. The package imports nothing of the module.
package loghist

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// NumBuckets is the number of buckets. Those before the last end at 0.95 us to 1024 s.
const NumBuckets = 32

// firstExponent is the base-2 logarithm of the first bucket's end, in seconds.
const firstExponent = -20

// A Histogram is a reading of durations. Buckets[i] counts those of at most Bound(i) and more than
// Bound(i-1). The sum of all is Count, except that what is observed during the reading may be in
// one and not yet in another.
type Histogram struct {
	Buckets [NumBuckets]uint64
	Count   uint64
	Sum     time.Duration
}

// Bound returns the end of bucket i in seconds, +Inf for the last.
func Bound(i int) float64 {
	if i == NumBuckets-1 {
		return math.Inf(1)
	}
	return math.Ldexp(1, firstExponent+i)
}

// Exponent returns the base-2 logarithm of the end of bucket i, in seconds.
func Exponent(i int) int { return firstExponent + i }

// A Recorder counts durations. The zero value is empty. Any goroutine may call its methods.
type Recorder struct {
	buckets [NumBuckets]atomic.Uint64
	sum     atomic.Int64 // ns
}

// Observe counts a duration; one below zero counts as zero.
func (r *Recorder) Observe(d time.Duration) {
	d = max(d, 0)
	r.buckets[index(d)].Add(1)
	r.sum.Add(int64(d))
}

// index returns the number of the bucket of d, which is not negative.
func index(d time.Duration) int {
	const ends = 1 << -firstExponent // of the first bucket, in a second
	n := uint64(math.Ceil(float64(d) * ends / float64(time.Second)))
	if n <= 1 {
		return 0
	}
	return min(bits.Len64(n-1), NumBuckets-1)
}

// Read returns what was counted.
func (r *Recorder) Read() Histogram {
	h := Histogram{Sum: time.Duration(r.sum.Load())}
	for i := range h.Buckets {
		h.Buckets[i] = r.buckets[i].Load()
		h.Count += h.Buckets[i]
	}
	return h
}
