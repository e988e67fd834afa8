package tail

import (
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestScheduleCountsLateness has calls that start hours after they should have.
func TestScheduleCountsLateness(t *testing.T) {
	r := NewRecorder(SystemClock, time.Hour)
	r.Restart()
	// Three calls that were due an hour, two hours and three hours before now.
	r.due -= 4 * r.gap
	for range 3 {
		r.Begin()
		r.End(Alloc)
	}
	all := map[string]*hdrhistogram.Histogram{}
	r.AddTo(all)
	if len(all) != 2 || all["alloc"].TotalCount() != 3 || all["alloc_response"].TotalCount() != 3 {
		t.Fatalf("%v", all)
	}
	if late := all["alloc_response"].Min(); late < Highest*99/100 { // 100 s is the longest time
		t.Errorf("calls are hours late, but the least response is %d ns", late)
	}
	if r.due > r.start {
		t.Error("the schedule has forgotten that it is late")
	}
	r.Resume()
	if r.due < r.start {
		t.Error("after a wait for another thread, the next call is late")
	}
}

func TestCallOnTimeIsNotLate(t *testing.T) {
	r := NewRecorder(SystemClock, time.Microsecond)
	r.Restart()
	r.Rest(time.Millisecond)
	due := r.due
	r.Begin()
	if r.start < due || r.wanted != r.start {
		t.Errorf("due at %d, begun at %d, late since %d", due, r.start, r.wanted)
	}
	r.Skip()
	if r.due != due+2*r.gap {
		t.Errorf("one call and one that is skipped move the schedule by %d", r.due-due)
	}
	r.End(Free)
	r.Restart()
	all := map[string]*hdrhistogram.Histogram{}
	if r.AddTo(all); len(all) != 0 {
		t.Errorf("after Restart: %v", all)
	}
}

func TestClockOfThisMachine(t *testing.T) {
	for _, c := range []Clock{Best(), SystemClock} {
		if d := c.Nanoseconds(c.Ticks(time.Second)); d < int64(time.Second)-100 || d > int64(time.Second)+100 {
			t.Errorf("%+v: a second is %d ns", c, d)
		}
		first := c.now()
		for c.now() == first {
			// It moves.
		}
		if cost := Cost(c); cost < 0 {
			t.Errorf("%+v: a call of nothing takes %d ns", c, cost)
		}
	}
}

func TestCounterMustBeInvariant(t *testing.T) {
	for flags, want := range map[string]bool{
		"\t: fpu tsc constant_tsc nonstop_tsc avx": true,
		"\t: fpu tsc constant_tsc avx":             false,
		"\t: tsc nonstop_tsc":                      false,
		"":                                         false,
	} {
		if invariant(flags) != want {
			t.Errorf("%q: %v", flags, !want)
		}
	}
}

func TestMergeOfRuns(t *testing.T) {
	run := func(ns ...int64) map[string]string {
		h := NewHistogram()
		for _, v := range ns {
			if err := h.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		texts, err := Encode(map[string]*hdrhistogram.Histogram{"alloc": h})
		if err != nil {
			t.Fatal(err)
		}
		return texts
	}
	many := make([]int64, 999)
	for i := range many {
		many[i] = 10
	}
	all, err := Merge([]map[string]string{run(many...), run(200)})
	if err != nil {
		t.Fatal(err)
	}
	if l := all["alloc"]; l.Calls != 1000 || l.P50 != 10 || l.P99 != 10 || l.P999 != 10 || l.P9999 != 200 || l.Max != 200 {
		t.Errorf("%+v", l)
	}
	if points := all["alloc"].Points(); len(points) != len(PointNames()) {
		t.Errorf("%d points, %d names", len(points), len(PointNames()))
	}
	if h, err := hdrhistogram.Decode([]byte(all["alloc"].HDR)); err != nil || h.TotalCount() != 1000 {
		t.Errorf("the histogram itself: %v, %v", h, err)
	}
	if _, err := Merge([]map[string]string{{"free": "nonsense"}}); err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("no histogram: %v", err)
	}
}
