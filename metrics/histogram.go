package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/slubd/slubd/internal/loghist"
)

// times is a histogram in both forms: classic buckets for text and OpenMetrics, and a native
// histogram of schema 0, whose buckets end at powers of two, for scrapers that ask for protobuf.
type times struct {
	desc   *prometheus.Desc
	values loghist.Histogram
	labels []*dto.LabelPair
}

// Desc implements prometheus.Metric.
func (t times) Desc() *prometheus.Desc { return t.desc }

// Write implements prometheus.Metric.
func (t times) Write(out *dto.Metric) error {
	count, sum, schema := t.values.Count, t.values.Sum.Seconds(), int32(0)
	zero, threshold := t.values.Buckets[0], loghist.Bound(0)
	h := &dto.Histogram{SampleCount: &count, SampleSum: &sum, Schema: &schema, ZeroCount: &zero, ZeroThreshold: &threshold}
	var below uint64
	for i, n := range t.values.Buckets[:loghist.NumBuckets-1] { // clients add the one to +Inf
		below += n
		end, upTo := loghist.Bound(i), below
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &end, CumulativeCount: &upTo})
	}
	first, length := int32(loghist.Exponent(1)), uint32(loghist.NumBuckets-1)
	h.PositiveSpan = []*dto.BucketSpan{{Offset: &first, Length: &length}}
	var before int64
	for _, n := range t.values.Buckets[1:] {
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-before)
		before = int64(n)
	}
	out.Histogram, out.Label = h, t.labels
	return nil
}
