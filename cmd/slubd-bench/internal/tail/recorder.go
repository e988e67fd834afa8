package tail

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The calls that have histograms, and the two times of each. native/bench.h repeats their order.
const (
	Alloc = iota
	Free
	calls
)

// Names of the histograms, by call: from the call's start, and from its intended start.
var (
	Own      = [calls]string{"alloc", "free"}
	Response = [calls]string{"alloc_response", "free_response"}
)

// Histograms hold times in ns from 1 to Highest, with an error of 1 % at most.
const (
	Highest = int64(100 * time.Second)
	digits  = 2
)

// NewHistogram returns an empty histogram.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, Highest, digits) }

// Buckets is the number of buckets of a histogram.
var Buckets = len(NewHistogram().Export().Counts)

// Recorder keeps the schedule and the times of one thread.
type Recorder struct {
	clock         Clock
	gap           int64 // ticks from one intended start to the next
	due           int64 // intended start of the next call
	start, wanted int64 // of the call that is running
	own, response [calls]*hdrhistogram.Histogram
}

// NewRecorder returns a Recorder that wants a call every gap. Restart must be called first.
func NewRecorder(clock Clock, gap time.Duration) *Recorder {
	r := &Recorder{clock: clock, gap: clock.Ticks(gap)}
	for i := range calls {
		r.own[i], r.response[i] = NewHistogram(), NewHistogram()
	}
	return r
}

// Restart forgets all times, and wants the next call at once.
func (r *Recorder) Restart() {
	for i := range calls {
		r.own[i].Reset()
		r.response[i].Reset()
	}
	r.due = r.clock.now()
}

// Begin waits for the intended start of the next call, which is to follow at once. A call that is
// late has its intended start in the past. A call that isn't starts when the wait ends.
func (r *Recorder) Begin() {
	now := r.clock.now()
	r.wanted = r.due
	if now < r.due {
		for now < r.due {
			now = r.clock.now()
		}
		r.wanted = now
	}
	r.due += r.gap
	r.start = now
}

// End records the call that Begin has started.
func (r *Recorder) End(call int) {
	end := r.clock.now()
	r.record(r.own[call], end-r.start)
	r.record(r.response[call], end-r.wanted)
}

// record adds a time. CPUs whose counters differ could make it negative.
func (r *Recorder) record(h *hdrhistogram.Histogram, ticks int64) {
	ns := min(r.clock.Nanoseconds(max(ticks, 0)), Highest)
	_ = h.RecordValue(ns) // fails out of range only
}

// Skip passes over one call of the schedule: Go's heap has no Free.
func (r *Recorder) Skip() { r.due += r.gap }

// Rest lets d pass before the next call.
func (r *Recorder) Rest(d time.Duration) { r.due += r.clock.Ticks(d) }

// Resume follows a wait for another thread, which is no lateness of the calls that come now.
func (r *Recorder) Resume() { r.due = max(r.due, r.clock.now()) }

// AddTo merges the histograms that have values into those of all threads, by name.
func (r *Recorder) AddTo(all map[string]*hdrhistogram.Histogram) {
	for i := range calls {
		merge(all, Own[i], r.own[i])
		merge(all, Response[i], r.response[i])
	}
}

func merge(all map[string]*hdrhistogram.Histogram, name string, h *hdrhistogram.Histogram) {
	if h.TotalCount() == 0 {
		return
	}
	if all[name] == nil {
		all[name] = NewHistogram()
	}
	all[name].Merge(h)
}

// costCalls is how many calls of nothing show the timer's cost.
const costCalls = 10_000

// Cost returns the ns that a call of nothing seems to take, the median of many. Every time that a
// Recorder keeps contains them.
func Cost(clock Clock) int64 {
	r := NewRecorder(clock, 0)
	r.Restart()
	for range costCalls {
		r.Begin()
		r.End(Alloc)
	}
	return r.own[Alloc].ValueAtPercentile(50)
}
