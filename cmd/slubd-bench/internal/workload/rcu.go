package workload

import (
	"slices"
	"time"
)

// The workloads of this file compare rcu, FreeRCU and rcumap with liburcu, ck_epoch and the maps
// that Go programs use.
const (
	RCURead      Kind = "rcu-read"
	RCUEnter     Kind = "rcu-enter"
	RCUReader    Kind = "rcu-reader-enter"
	RCUMap       Kind = "rcu-map"
	FreeRCUFlood Kind = "freercu-flood"
	GPLatency    Kind = "gp-latency"
	GPExpedited  Kind = "gp-expedited"
)

const (
	// SectionsPerReport is the number of sections of a QSBR reader between two quiescent states.
	SectionsPerReport = 1024
	// FloodBatch is how many objects freercu-flood allocates and frees at a time, as the kernel's
	// rcuscale (kfree_alloc_num).
	FloodBatch = 8000
	// RCUMapKeys is how many keys are used with a map; nine in ten are in it.
	RCUMapKeys = 50_000
	// RCUMapPuts is the number of puts for each delete.
	RCUMapPuts = 9
)

// byRCU returns the workloads of this file.
func byRCU() []Workload {
	maps := []string{Slubd, SyncMap, Sharded}
	return []Workload{
		{Name: "rcu-read", Kind: RCURead, Batch: SectionsPerReport, Names: []string{Slubd, URCU},
			About: "a registered reader's section: load a pointer, read a word; a quiescent state every 1024"},
		{Name: "rcu-enter", Kind: RCUEnter, Names: []string{Slubd, URCU, CK},
			About: "a section of a goroutine that is not registered, by Domain.Enter; the others as in rcu-reader-enter"},
		{Name: "rcu-reader-enter", Kind: RCUReader, Names: []string{Slubd, URCU, CK},
			About: "a section of a registered reader, by Reader.Enter and Exit; liburcu's membarrier flavour, ck_epoch's record"},
		{Name: "rcu-map-90-9-1", Kind: RCUMap, Gets: 90, Names: maps,
			About: "a map of 50000 keys: 90 % get, 9 % put, 1 % delete"},
		{Name: "rcu-map-50-50", Kind: RCUMap, Gets: 50, Names: maps,
			About: "a map of 50000 keys: 50 % get, 45 % put, 5 % delete"},
		{Name: "freercu-flood", Kind: FreeRCUFlood, Batch: FloodBatch, Names: []string{Slubd, Go, URCU, CK},
			About: "8000 objects at a time allocated and given to FreeRCU, call_rcu or ck_epoch_call, with readers; Go drops them"},
		{Name: "gp-latency", Kind: GPLatency, Unit: PerPeriod, Names: []string{Slubd, URCU},
			About: "Synchronize with two busy readers"},
		{Name: "gp-expedited", Kind: GPExpedited, Unit: PerPeriod, Names: []string{Slubd},
			About: "SynchronizeExpedited with two busy readers"},
	}
}

// ByRCU reports whether the workload is one of this file.
func (k Kind) ByRCU() bool {
	switch k {
	case RCUMap, FreeRCUFlood:
		return true
	}
	return k.BySection() || k.ByPeriod()
}

// BySection reports whether an operation is a read-side section, without objects.
func (k Kind) BySection() bool { return k == RCURead || k == RCUEnter || k == RCUReader }

// ByPeriod reports whether an operation is a grace period.
func (k Kind) ByPeriod() bool { return k == GPLatency || k == GPExpedited }

// Readers describes the readers that report quiescent states beside a run's threads.
type Readers struct {
	Count   int
	Section time.Duration // time that a busy reader is in a section
	Sleep   time.Duration // between two quiescent states; 0: the readers are busy
}

const (
	// section is the time of a short lookup.
	section = time.Microsecond
	// sleep is how long readers sleep where the threads use every CPU. The kernel's timer slack
	// doubles it.
	sleep = 50 * time.Microsecond
)

// Readers returns the readers of a run with a number of CPUs: two busy ones where grace periods are
// measured; otherwise a busy one for each CPU that the threads leave free, or, if there is none,
// two that sleep between quiescent states. They sleep online, so that grace periods wait for them.
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

// Least is the least number of operations of a run: for grace periods, enough for a median.
func (k Kind) Least() int {
	if k.ByPeriod() {
		return 16
	}
	return 1
}

// Guess is about how long an operation takes, before anything is known.
func (k Kind) Guess() time.Duration {
	switch {
	case k.ByPeriod():
		return 100 * time.Microsecond
	case k == Large:
		return time.Millisecond // where each page is a fault
	case k.ByTail():
		return time.Microsecond
	}
	return 20 * time.Nanosecond
}

// Periods sets s's value to the median time of grace periods in ns. A grace period during which the
// kernel gives a reader's CPU to another thread takes a thousand times as long; Extra has the mean
// and the 99th percentile, which show those.
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
