package workload

import (
	"slices"
	"time"
)

// Spec is everything that a run needs to know. Child processes get it as JSON.
type Spec struct {
	Kind    Kind   `json:"kind"`
	Threads int    `json:"threads"` // even where Kind is Paired: producers and consumers
	Size    int    `json:"size"`    // bytes; ignored by kinds with Sizes
	Batch   int    `json:"batch"`   // pairs that a loop does at a time
	Order   Order  `json:"order"`
	Live    int    `json:"live"` // objects kept, per thread or by a whole heap; keys of a map
	Gets    int    `json:"gets"` // percentage of lookups among a map's operations
	Ops     int    `json:"ops"`  // alloc+free pairs per thread inside the timed loop
	Warm    int    `json:"warm"` // pairs per thread before it
	Seed    uint64 `json:"seed"`

	// CPUs are what the threads are pinned to, each to one: thread i to the i-th, and to the first
	// again after the last. Threads are not pinned if there are none.
	CPUs []int `json:"cpus,omitempty"`
	// Chunk is the number of operations that a thread does between two looks at the clock, of which
	// Tail is made. 0: a thread looks at its start and its end.
	Chunk int `json:"chunk,omitempty"`

	// Collector says that Go's collector runs beside the loop.
	Collector bool `json:"collector,omitempty"`
	// Disturb is what another goroutine does beside the loop, one of tail.go's Disturb constants.
	Disturb string `json:"disturb,omitempty"`
	// Gap is the time from one intended start of a call to the next, in a thread of a workload of
	// tail.go, and Rest the time from one wave of calls to the next.
	Gap  time.Duration `json:"gap,omitempty"`
	Rest time.Duration `json:"rest,omitempty"`
	// Trace is the file that a workload of trace.go replays. Batch is then its number of objects,
	// so that runs are of whole cycles, and Live the most of them at a time.
	Trace string `json:"trace,omitempty"`
	// SystemClock says that tail.go's workloads shall not use the time-stamp counter.
	SystemClock bool `json:"system_clock,omitempty"`
}

// CPU returns the CPU that a thread is pinned to, -1 if none.
func (s Spec) CPU(thread int) int {
	if len(s.CPUs) == 0 {
		return -1
	}
	return s.CPUs[thread%len(s.CPUs)]
}

// Spec returns the workload's specification without a number of operations.
func (w Workload) Spec(threads, size int, seed uint64) Spec {
	s := Spec{
		Kind: w.Kind, Threads: threads, Size: size, Seed: seed,
		Batch: w.Batch, Order: w.Order, Live: w.Kind.live(), Gets: w.Gets, Collector: w.Collector, Disturb: w.Disturb, Trace: w.Trace,
		Gap: w.Kind.gap(), Rest: w.Kind.rest(),
	}
	if w.Kind == Bulk {
		s.Order = FIFO
	}
	return s
}

// WithOps returns s with n timed operations and n/10 to warm up, both rounded up to whole batches
// and chunks.
func (s Spec) WithOps(n int) Spec {
	unit := max(1, s.Batch, s.Chunk)
	whole := func(n int) int { return max(1, (n+unit-1)/unit) * unit }
	s.Ops, s.Warm = whole(n), whole(n/10)
	return s
}

// leastChunk is the least number of operations in a chunk: the clock then takes a fraction of a
// nanosecond of each.
const leastChunk = 128

// WithChunks returns s with chunks, of whole batches.
func (s Spec) WithChunks() Spec {
	unit := max(1, s.Batch)
	s.Chunk = (leastChunk + unit - 1) / unit * unit
	return s
}

// Pairs is the number of alloc+free pairs of all threads. Where Kind is Paired, two threads make
// each.
func (s Spec) Pairs() int {
	if s.Kind.Paired() {
		return s.Ops * s.Threads / 2
	}
	return s.Ops * s.Threads
}

// Weight is the factor of a thread's checksum before it adds the next object's first word. With one
// thread it makes the checksum depend on the order in which objects are freed. With more threads,
// timing decides which one frees an object, so the factor is 1 and only the sum counts.
func (s Spec) Weight() uint64 {
	if s.Threads == 1 {
		return 0x9E3779B97F4A7C15
	}
	return 1
}

// Throughput is the number of operations in a second, in millions, of all threads together that
// take ns nanoseconds each. Where Kind is Paired, two threads make each.
func (k Kind) Throughput(threads int, ns float64) float64 {
	if k.Paired() {
		threads /= 2
	}
	return float64(threads) * 1000 / ns
}

// Sample is the result of one run.
type Sample struct {
	Value   float64            `json:"value"`   // in the workload's unit
	Elapsed time.Duration      `json:"elapsed"` // of the timed part
	Extra   map[string]float64 `json:"extra,omitempty"`

	// Checksum adds up, with Spec.Weight, the first words of the objects that a workload of
	// malloc.go frees, or the words that a workload of rcu.go reads; of trace.go those of the last
	// cycle, so that it is the same for each number of cycles. Runs of equal Specs have
	// equal checksums; with maps only if they have one thread.
	Checksum uint64 `json:"checksum,omitempty"`
	// Latency has the histograms of a workload of tail.go by name, as tail.Encode makes them.
	Latency map[string]string `json:"latency,omitempty"`
	// Pauses are those of Go's collector in the timed part, where Go's loops run.
	Pauses []Pause `json:"pauses,omitempty"`
	// Classes are the bytes given for malloc-mix's sizes.
	Classes []ClassBytes `json:"classes,omitempty"`
}

// Names of extras of all loops.
const (
	GoAllocs = "go_allocs_per_op"
	CgoCalls = "cgo_calls_per_op"
)

// Names of the extras of rcu.go's workloads.
const (
	GracePeriods = "grace_periods" // number that passed during a run
	DrainTime    = "drain_ms"      // from the end of the timed part until all objects are free
	MeanPeriod   = "mean_ns"       // of a run's grace periods, whose median is the value
	LongPeriod   = "p99_ns"        // the time that 99 in 100 of them do not exceed
)

// Names of the extras of runs with chunks: the ns per operation in the slowest of 1000 chunks and,
// of slubd, how often events happened in 1000 operations.
const (
	Tail         = "p999_ns"
	BarnGetFail  = "barn_get_fail_per_1000"
	FreeSlowpath = "free_slowpath_per_1000"
)

// Chunks adds Tail for the times of chunks in ns.
func (s *Sample) Chunks(times []int64, chunk int) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	if s.Extra == nil {
		s.Extra = map[string]float64{}
	}
	s.Extra[Tail] = float64(times[len(times)*999/1000]) / float64(chunk)
}

// Rounds is an extra of reclaim: the number of allocations of a run, those to warm up included,
// that succeeded only after other caches had given memory back.
const Rounds = "reclaim_rounds"

// PerThread makes a Sample from each thread's time in ns for ops operations.
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
