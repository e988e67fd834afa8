package workload

import "time"

// Spec is everything one run needs to know. It travels to the children as
// JSON.
type Spec struct {
	Kind    Kind   `json:"kind"`
	Threads int    `json:"threads"` // even where Kind is Paired: producers and consumers
	Size    int    `json:"size"`    // bytes; ignored by kinds with Sizes
	Batch   int    `json:"batch"`   // what a loop does at a time, in pairs
	Order   Order  `json:"order"`
	Live    int    `json:"live"` // objects kept, per thread or by a whole heap; keys of a map
	Gets    int    `json:"gets"` // percentage of lookups among a map's operations
	Ops     int    `json:"ops"`  // alloc+free pairs per thread inside the timed loop
	Warm    int    `json:"warm"` // pairs per thread before it
	Seed    uint64 `json:"seed"`
}

// Spec returns the workload's specification without a number of operations.
func (w Workload) Spec(threads, size int, seed uint64) Spec {
	s := Spec{Kind: w.Kind, Threads: threads, Size: size, Batch: w.Batch, Order: w.Order, Live: w.Kind.live(), Gets: w.Gets, Seed: seed}
	if w.Kind == Bulk {
		s.Order = FIFO
	}
	return s
}

// WithOps returns s with n timed operations and a tenth of that for warming
// up, both whole batches.
func (s Spec) WithOps(n int) Spec {
	unit := max(1, s.Batch)
	whole := func(n int) int { return max(1, (n+unit-1)/unit) * unit }
	s.Ops, s.Warm = whole(n), whole(n/10)
	return s
}

// Pairs is the number of alloc+free pairs of all threads, of which two may make one.
func (s Spec) Pairs() int {
	if s.Kind.Paired() {
		return s.Ops * s.Threads / 2
	}
	return s.Ops * s.Threads
}

// Weight is what a thread's checksum is multiplied by before it adds the next object's
// first word. With one thread that makes it depend on the order in which objects are freed.
// With more, who frees an object is a matter of timing, and only the sum is certain.
func (s Spec) Weight() uint64 {
	if s.Threads == 1 {
		return 0x9E3779B97F4A7C15
	}
	return 1
}

// Sample is what one run found.
type Sample struct {
	Value   float64            `json:"value"`   // in the workload's unit
	Elapsed time.Duration      `json:"elapsed"` // of the timed part
	Extra   map[string]float64 `json:"extra,omitempty"`

	// Checksum adds up the first words of all objects that a run of the workloads by
	// malloc has freed, when freed, with Spec.Weight. In the workloads of rcu.go it is of
	// what was looked up. Runs of equal Specs have equal ones, with maps those of one thread.
	Checksum uint64 `json:"checksum,omitempty"`
	// Classes is what malloc-mix's sizes take.
	Classes []ClassBytes `json:"classes,omitempty"`
}

// Names of extras that loops of both languages report.
const (
	GoAllocs = "go_allocs_per_op"
	CgoCalls = "cgo_calls_per_op"
)

// Names of the extras of rcu.go's workloads.
const (
	GracePeriods = "grace_periods" // that have passed during a run
	DrainTime    = "drain_ms"      // from the end of the timed part until all objects are free
	MeanPeriod   = "mean_ns"       // of a run's grace periods, where the value is their median
	LongPeriod   = "p99_ns"        // longer than all but a hundredth of them
)

// PerThread makes a Sample of each thread's nanoseconds for ops operations.
func PerThread(nanoseconds []int64, ops int) Sample {
	var sum, longest int64
	for _, ns := range nanoseconds {
		sum += ns
		longest = max(longest, ns)
	}
	return Sample{
		Value:   float64(sum) / float64(len(nanoseconds)) / float64(ops),
		Elapsed: time.Duration(longest),
	}
}
