package workload

import (
	"slices"
	"time"
)

// The workloads of this file compare rcu, FreeRCU and a map made of them with liburcu,
// ck_epoch and the maps that Go programs use.
const (
	RCURead      Kind = "rcu-read"
	RCUEnter     Kind = "rcu-enter"
	RCUMap       Kind = "rcu-map"
	FreeRCUFlood Kind = "freercu-flood"
	GPLatency    Kind = "gp-latency"
	GPExpedited  Kind = "gp-expedited"
)

const (
	// SectionsPerReport is how many sections a QSBR reader goes through between two
	// quiescent states.
	SectionsPerReport = 1024
	// FloodBatch is how many objects freercu-flood allocates and frees in a loop: the
	// kernel's rcuscale, kfree_alloc_num.
	FloodBatch = 8000
	// RCUMapKeys is how many keys are used with a map, of which nine in ten are in it.
	RCUMapKeys = 50_000
	// RCUMapPuts is how many puts there are for one delete.
	RCUMapPuts = 9
)

// byRCU lists the workloads with who takes part.
func byRCU() []Workload {
	maps := []string{Slubd, SyncMap, Sharded}
	return []Workload{
		{Name: "rcu-read", Kind: RCURead, Batch: SectionsPerReport, Allocs: []string{Slubd, URCU},
			About: "a registered reader's section: load a pointer, read a word; a quiescent state every 1024"},
		{Name: "rcu-enter", Kind: RCUEnter, Allocs: []string{Slubd, URCU, CK},
			About: "the same section of a goroutine that isn't registered, by Enter and Exit; liburcu's membarrier flavour"},
		{Name: "rcu-map-90-9-1", Kind: RCUMap, Gets: 90, Allocs: maps,
			About: "a map of 50000 keys: 90 % get, 9 % put, 1 % delete"},
		{Name: "rcu-map-50-50", Kind: RCUMap, Gets: 50, Allocs: maps,
			About: "the same: 50 % get, 45 % put, 5 % delete"},
		{Name: "freercu-flood", Kind: FreeRCUFlood, Batch: FloodBatch, Allocs: []string{Slubd, Go, URCU, CK},
			About: "8000 objects at a time allocated and given to FreeRCU, call_rcu or ck_epoch_call, readers reporting; Go drops them"},
		{Name: "gp-latency", Kind: GPLatency, Unit: PerPeriod, Allocs: []string{Slubd, URCU},
			About: "Synchronize with two busy readers"},
		{Name: "gp-expedited", Kind: GPExpedited, Unit: PerPeriod, Allocs: []string{Slubd},
			About: "SynchronizeExpedited with two busy readers"},
	}
}

// ByRCU reports whether the workload is one of this file.
func (k Kind) ByRCU() bool {
	switch k {
	case RCURead, RCUEnter, RCUMap, FreeRCUFlood:
		return true
	}
	return k.ByPeriod()
}

// ByPeriod reports whether an operation is a grace period.
func (k Kind) ByPeriod() bool { return k == GPLatency || k == GPExpedited }

// Readers are those who go through quiescent states beside a run's threads.
type Readers struct {
	Count   int
	Section time.Duration // that a busy one is in a section
	Sleep   time.Duration // that the others sleep between two quiescent states; 0: busy
}

const (
	// section is a short lookup's time.
	section = time.Microsecond
	// sleep is what readers pause where the threads want every CPU. With the kernel's
	// timer slack it takes twice as long.
	sleep = 50 * time.Microsecond
)

// Readers returns what a run with that many CPUs needs: two busy ones for grace periods;
// otherwise a busy one for each CPU that the threads leave free, or, where there is
// none, two that sleep in between, online, so that grace periods wait for them.
func (s Spec) Readers(cpus int) Readers {
	switch spare := cpus - s.Threads; {
	case s.Kind.ByPeriod():
		return Readers{Count: 2, Section: section}
	case s.Kind != RCU && s.Kind != FreeRCUFlood:
		return Readers{}
	case spare > 0:
		return Readers{Count: spare, Section: section}
	}
	return Readers{Count: 2, Sleep: sleep}
}

// Least is how many operations a run has, however long they take: as many grace periods as
// a median takes.
func (k Kind) Least() int {
	if k.ByPeriod() {
		return 16
	}
	return 1
}

// Guess is about how long an operation takes, before anything is known.
func (k Kind) Guess() time.Duration {
	if k.ByPeriod() {
		return 100 * time.Microsecond
	}
	return 20 * time.Nanosecond
}

// Periods sets s's value to the median of the times that grace periods took, in ns, since
// one during which the kernel gives a reader's CPU to somebody else takes a thousand times
// as long. What that hides is in Extra.
func (s *Sample) Periods(times []int64) {
	slices.Sort(times)
	sum := 0.0
	for _, ns := range times {
		sum += float64(ns)
	}
	s.Value = float64(times[len(times)/2])
	if s.Extra == nil {
		s.Extra = map[string]float64{}
	}
	s.Extra[MeanPeriod] = sum / float64(len(times))
	s.Extra[LongPeriod] = float64(times[len(times)*99/100])
}
