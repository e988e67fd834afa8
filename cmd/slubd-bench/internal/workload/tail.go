package workload

import "time"

// The workloads of this file time every call, see package tail. Their value is the 99.9th
// percentile of Alloc; Sample.Latency has the distributions.
const (
	TailIdle   Kind = "tail-idle"
	TailSteady Kind = "tail-steady"
	TailBursty Kind = "tail-bursty"
	TailCross  Kind = "tail-cross"
	TailPhases Kind = "tail-phases"
)

// PerCall is the unit of these workloads.
const PerCall = "p99.9-ns"

const (
	// TailLive is how many objects a thread keeps: half a million with two threads. The one thread
	// of tail-cross that keeps any has twice as many.
	TailLive = 250_000
	// TailBurst is how many objects tail-bursty allocates at a time before it frees as many.
	TailBurst = 2000
	// TailRest is the time between two bursts, about as long as a burst.
	TailRest = time.Millisecond
	// TailPhase is how many objects more a thread of tail-phases has at its peak, and how many it
	// replaces there.
	TailPhase = 20_000
)

// byTail returns the workloads of this file. While Go's collector runs there are only the
// implementations that are Go's.
func byTail() []Workload {
	list := []Workload{
		{Name: "tail-idle", Kind: TailIdle, Names: []string{Slubd, Malloc},
			About: "no call at all, timed as in tail-steady: what timer and kernel add, in Go (slubd) and C (malloc)"},
		{Name: "tail-steady", Kind: TailSteady,
			About: "every call timed: 250000 live objects for each thread, a random one replaced, a call every 500 ns"},
		{Name: "tail-bursty", Kind: TailBursty, Batch: TailBurst,
			About: "the same in bursts of 2000 Allocs and then 2000 Frees, a call every 250 ns, 1 ms between bursts"},
		{Name: "tail-cross", Kind: TailCross, Batch: XferBatch,
			About: "the same, but one thread allocates, and another keeps the objects and frees them"},
		{Name: "tail-phases", Kind: TailPhases, Batch: 2 * TailPhase,
			About: "the same in phases: 20000 objects more, 20000 replaced, 20000 fewer, a call every 250 ns"},
	}
	for _, w := range list {
		if w.Kind != TailIdle {
			w.Name, w.Collector, w.Names = w.Name+"-gc", true, []string{Slubd, Go, Pool}
			w.About = w.Name[:len(w.Name)-len("-gc")] + " while Go's collector runs, every 20 ms"
			list = append(list, w)
		}
	}
	list = append(list, disturbed()...)
	for i := range list {
		list[i].Unit = PerCall
	}
	return list
}

// What another goroutine does beside tail-steady, once in DisturbEvery.
const (
	DisturbNothing  = "nothing"
	DisturbScrape   = "scrape"
	DisturbShrink   = "shrink"
	DisturbCaches   = "caches"
	DisturbCapacity = "capacity"
)

// DisturbEvery is the time from one disturbance to the next, far less than in any program. A thread
// makes 10,000 calls of Alloc meanwhile, so the 99.9th percentile shows what a disturbance costs
// more than ten of them.
const DisturbEvery = 10 * time.Millisecond

// disturbed returns the workloads in which another goroutine disturbs tail-steady.
func disturbed() (list []Workload) {
	for _, d := range [...]struct{ op, about string }{
		{DisturbScrape, "/metrics is scraped"},
		{DisturbShrink, "the cache is shrunk"},
		{DisturbCaches, "another cache is made, used and closed"},
		{DisturbCapacity, "the capacity of the cache's sheaves changes"},
	} {
		list = append(list, Workload{Name: "tail-disturbed-" + d.op, Kind: TailSteady, Disturb: d.op, Names: []string{Slubd},
			About: "tail-steady on one CPU less, while " + d.about + " every 10 ms"})
	}
	return list
}

// Extras of these workloads.
const (
	Undisturbed  = "undisturbed_p999_ns" // the value of a run before it that was not disturbed
	Disturbances = "disturbances"        // how many there were in a run
)

// ByTail reports whether the workload is one of this file.
func (k Kind) ByTail() bool {
	switch k {
	case TailIdle, TailSteady, TailBursty, TailCross, TailPhases:
		return true
	}
	return false
}

// Waves reports whether a thread allocates many objects before it frees as many.
func (k Kind) Waves() bool { return k == TailBursty || k == TailPhases }

// Wave is how many objects a thread allocates at a time, where Kind has Waves.
func (s Spec) Wave() int {
	switch s.Kind {
	case TailBursty:
		return s.Batch
	case TailPhases:
		return s.Batch / 2 // the other half is replaced
	}
	return 0
}

// gap and rest are Spec's.
func (k Kind) gap() time.Duration {
	switch {
	case !k.ByTail():
		return 0
	case k.Waves():
		return 250 * time.Nanosecond
	}
	return 500 * time.Nanosecond
}

func (k Kind) rest() time.Duration {
	if k == TailBursty {
		return TailRest
	}
	return 0
}

// Small returns s with fewer objects and no waits, where every call is timed: for tests, which look
// at counts, not at times.
func (s Spec) Small() Spec {
	if s.Kind.ByTail() {
		s.Live, s.Batch, s.Gap, s.Rest = min(s.Live, 1000), min(s.Batch, 100), 0, 0
	}
	return s
}

// TimerCost is an extra of this file's workloads: the ns of each time that are the timer's own.
const TimerCost = "timer_ns"

// TimerTSC is an extra of this file's workloads: the rate of the time-stamp counter in GHz, 0
// where the system's clock was read.
const TimerTSC = "tsc_ghz"
