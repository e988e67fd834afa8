//go:build cgo && linux

package native

// #cgo CFLAGS: -O2 -std=gnu11 -Wall -Wextra
// #cgo LDFLAGS: -ldl -lpthread
// #include <stdlib.h>
// #include "bench.h"
import "C"

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Available reports whether this build has the C loops.
const Available = true

// kinds maps the workloads to C loops. bulk is a batch of 32 and prefill a pair, because malloc has
// nothing like them.
var kinds = map[workload.Kind]C.enum_bench_kind{
	workload.Pair:    C.BENCH_PAIR,
	workload.Prefill: C.BENCH_PAIR,
	workload.Batch:   C.BENCH_BATCH,
	workload.Bulk:    C.BENCH_BATCH,
	workload.Churn:   C.BENCH_CHURN,
	workload.Mix:     C.BENCH_MIX,
	workload.Xfer:    C.BENCH_XFER,

	workload.Larson:       C.BENCH_LARSON,
	workload.MStress:      C.BENCH_MSTRESS,
	workload.RPTest:       C.BENCH_RPTEST,
	workload.XMalloc:      C.BENCH_XMALLOC,
	workload.SH6:          C.BENCH_SH6,
	workload.SH8:          C.BENCH_SH8,
	workload.AllocTest:    C.BENCH_ALLOC_TEST,
	workload.CacheScratch: C.BENCH_CACHE_SCRATCH,
	workload.CacheThrash:  C.BENCH_CACHE_THRASH,
	workload.MallocMix:    C.BENCH_MALLOC_MIX,
	workload.Large:        C.BENCH_LARGE,
	workload.Trace:        C.BENCH_TRACE,

	workload.TailIdle:   C.BENCH_TAIL_IDLE,
	workload.TailSteady: C.BENCH_TAIL_STEADY,
	workload.TailBursty: C.BENCH_TAIL_WAVES,
	workload.TailPhases: C.BENCH_TAIL_WAVES,
	workload.TailCross:  C.BENCH_TAIL_CROSS,

	workload.RCURead:      C.BENCH_RCU_READ,
	workload.RCUEnter:     C.BENCH_RCU_ENTER,
	workload.RCUReader:    C.BENCH_RCU_ENTER,
	workload.FreeRCUFlood: C.BENCH_FREERCU_FLOOD,
	workload.GPLatency:    C.BENCH_GP_LATENCY,
}

// rcu is the library that Load has loaded, nil if none.
var rcu *C.struct_bench_rcu

// Load loads a library that RCU.Compile has made. From then on Run runs its loops and no others.
func Load(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var why *C.char
	if rcu = C.bench_load(name, &why); rcu == nil {
		return fmt.Errorf("loading %s: %s", path, C.GoString(why))
	}
	return nil
}

// The parameters of both languages are the same, or this does not compile.
var _ = [1]struct{}{}[(C.BENCH_TRANSFER-workload.MStressTransfer)|(C.BENCH_MSTRESS_EVERY-workload.MStressEvery)|
	(C.BENCH_RPTEST_CROSS-workload.RPTestCross)|(C.BENCH_XMALLOC_BATCH-workload.XMallocBatch)|
	(C.BENCH_CACHE_WRITES-workload.CacheWrites)|(C.BENCH_MALLOC_MIX_REALLOC-workload.MallocMixRealloc)|
	(C.BENCH_SECTIONS-workload.SectionsPerReport)|(C.BENCH_PAGE_SIZE-workload.PageSize)]

// An event of a trace is the same in both languages, or this does not compile.
var _ = [1]struct{}{}[(unsafe.Sizeof(C.struct_bench_event{})-unsafe.Sizeof(replay.Event{}))|
	(unsafe.Offsetof(C.struct_bench_event{}.number)-unsafe.Offsetof(replay.Event{}.Number))|
	(unsafe.Offsetof(C.struct_bench_event{}.size)-unsafe.Offsetof(replay.Event{}.Size))]

// Run measures s with this process's malloc, and with the RCU library if one is loaded. It makes
// one call into C.
func Run(s workload.Spec) (workload.Sample, error) {
	kind, ok := kinds[s.Kind]
	if !ok || s.Kind.ByRCU() != (rcu != nil) || rcu != nil && C.bench_has(rcu, kind) == 0 {
		return workload.Sample{}, fmt.Errorf("workload %s has no C loop", s.Kind)
	}
	if err := check(s, kind); err != nil {
		return workload.Sample{}, err
	}
	cycle, err := cycleOf(s)
	if err != nil {
		return workload.Sample{}, err
	}
	ordered := max(1, s.Batch)
	if cycle != nil {
		ordered = 1
	}
	order := s.Order.Indices(ordered, s.Seed)
	sizes := s.Kind.Sizes()
	if sizes == nil {
		sizes = []uint32{uint32(s.Size)}
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&order[0])
	pins.Pin(&sizes[0])

	ns := make([]int64, s.Threads)
	var drain C.int64_t
	readers := s.Readers(runtime.GOMAXPROCS(0))
	spec := C.struct_bench_spec{
		kind: kind, threads: C.int(s.Threads), batch: C.int(s.Batch), live: C.int(s.Live),
		size: C.size_t(s.Size), ops: C.int64_t(s.Ops), warm: C.int64_t(s.Warm), seed: C.uint64_t(s.Seed), weight: C.uint64_t(s.Weight()),
		readers: C.int(readers.Count), section: C.int64_t(readers.Section), sleep: C.int64_t(readers.Sleep),
		order:  (*C.uint32_t)(&order[0]),
		nsizes: C.int(len(sizes)), sizes: (*C.uint32_t)(&sizes[0]),
	}
	cpus := make([]C.int, len(s.CPUs))
	for i, cpu := range s.CPUs {
		cpus[i] = C.int(cpu)
	}
	if len(cpus) > 0 {
		pins.Pin(&cpus[0])
		spec.ncpus, spec.cpus = C.int(len(cpus)), &cpus[0]
	}
	if cycle != nil {
		pins.Pin(&cycle.Events[0])
		spec.events = (*C.struct_bench_event)(unsafe.Pointer(&cycle.Events[0]))
		spec.nevents = C.int64_t(len(cycle.Events))
	}
	var chunks []int64
	if s.Chunk > 0 {
		chunks = make([]int64, s.Ops/s.Chunk*s.Threads)
		pins.Pin(&chunks[0])
		spec.chunk, spec.chunks = C.int64_t(s.Chunk), (*C.int64_t)(&chunks[0])
	}
	var times []int64
	if s.Kind.ByPeriod() {
		times = make([]int64, max(s.Ops, s.Warm)*s.Threads)
		pins.Pin(&times[0])
		spec.times = (*C.int64_t)(&times[0])
	}
	var timer *C.struct_bench_timer
	var counts []int64
	if s.Kind.ByTail() {
		timer, counts = newTimer(s)
		pins.Pin(&counts[0])
		pins.Pin(timer)
		timer.counts, spec.timer = (*C.int64_t)(&counts[0]), timer
	}
	checksum := C.bench_run(&spec, rcu, (*C.int64_t)(&ns[0]), &drain)
	sample := workload.PerThread(ns, s.Ops)
	sample.Checksum = uint64(checksum)
	if readers.Count > 0 {
		sample.Extra = map[string]float64{workload.DrainTime: float64(drain) / float64(time.Millisecond)}
	}
	if times != nil {
		sample.Periods(times[:s.Ops*s.Threads])
	}
	sample.Chunks(chunks, s.Chunk)
	if timer != nil {
		clock := tail.ClockOf(s)
		if err := tail.Report(&sample, tail.FromThreads(counts), clock, int64(C.bench_timer_cost(timer))); err != nil {
			return sample, err
		}
	}
	if s.Kind == workload.MallocMix {
		given := make([]uint32, len(sizes))
		C.bench_usable(spec.sizes, spec.nsizes, (*C.uint32_t)(&given[0]))
		sample.Classes = workload.ByClass(sizes, given)
	}
	return sample, nil
}

// newTimer returns the schedule of a workload that times every call, and room for the times.
func newTimer(s workload.Spec) (*C.struct_bench_timer, []int64) {
	clock := tail.ClockOf(s)
	timer := &C.struct_bench_timer{
		scale: C.uint64_t(clock.Scale), wave: C.int(s.Wave()),
		gap: C.int64_t(clock.Ticks(s.Gap)), rest: C.int64_t(clock.Ticks(s.Rest)),
	}
	if clock.TSC {
		timer.tsc = 1
	}
	return timer, make([]int64, s.Threads*tail.CountsPerThread())
}

// bucket returns the index of a time in ns in the histograms of C.
func bucket(ns int64) int { return int(C.bench_bucket(C.int64_t(ns))) }

// buckets is the number of counts in a histogram of C.
const buckets = C.BENCH_BUCKETS

// check refuses specs that the loops would crash on.
func check(s workload.Spec, kind C.enum_bench_kind) error {
	ok := s.Threads > 0 && s.Ops > 0 && (s.Chunk == 0 || s.Chunk > 0 && s.Ops%s.Chunk == 0)
	for _, cpu := range s.CPUs {
		ok = ok && cpu >= 0 && cpu < C.BENCH_MAX_CPUS
	}
	switch kind {
	case C.BENCH_BATCH:
		ok = ok && s.Batch > 0
	case C.BENCH_CHURN, C.BENCH_MIX, C.BENCH_ALLOC_TEST, C.BENCH_MALLOC_MIX:
		ok = ok && s.Live > 0
	case C.BENCH_LARSON, C.BENCH_MSTRESS, C.BENCH_RPTEST:
		ok = ok && s.Live > 0 && s.Batch > 0
	case C.BENCH_SH6, C.BENCH_SH8:
		ok = ok && s.Live > 0 && s.Batch == 2*s.Live
	case C.BENCH_XMALLOC:
		ok = ok && s.Threads%2 == 0 && s.Batch == workload.XMallocBatch
	case C.BENCH_TAIL_STEADY:
		ok = ok && s.Live > 0
	case C.BENCH_TAIL_WAVES:
		ok = ok && s.Live > 0 && s.Wave() > 0
	case C.BENCH_TAIL_CROSS:
		ok = ok && s.Live > 0 && s.Threads%2 == 0 && s.Batch > 0 && s.Batch <= workload.XferBatch
	case C.BENCH_CACHE_SCRATCH, C.BENCH_CACHE_THRASH, C.BENCH_LARGE:
		ok = ok && s.Size >= workload.CacheSize
	case C.BENCH_RCU_READ, C.BENCH_FREERCU_FLOOD:
		ok = ok && s.Batch > 0
	case C.BENCH_XFER:
		ok = ok && s.Threads%2 == 0 && s.Batch > 0 && s.Batch <= workload.XferBatch
	}
	if !ok {
		return fmt.Errorf("impossible run: %+v", s)
	}
	return nil
}

// Verify checks that malloc comes from the library that exports symbol or, if symbol is empty, from
// none of Libraries. It returns the path of the library that it comes from.
func Verify(symbol string) (path string, err error) {
	path = Provider("malloc")
	if symbol != "" {
		if marker := Provider(symbol); marker == "" || marker != path {
			return path, fmt.Errorf("LD_PRELOAD had no effect: malloc comes from %s, and %s from %q", path, symbol, marker)
		}
		return path, nil
	}
	for _, l := range Libraries("") {
		if l.Symbol != "" && Provider(l.Symbol) != "" {
			return path, fmt.Errorf("%s is loaded, but the C library's malloc is to be measured", l.File)
		}
	}
	return path, nil
}

// Provider returns the file that defines a symbol in this process, empty if none does.
func Provider(symbol string) string {
	name := C.CString(symbol)
	defer C.free(unsafe.Pointer(name))
	return C.GoString(C.bench_provider(name))
}

// Version returns the name and version of the library that malloc comes from.
func Version() string {
	var text [128]C.char
	C.bench_version(&text[0], C.size_t(len(text)))
	return C.GoString(&text[0])
}

// Compiler returns the name and version of the compiler of the C loops.
func Compiler() string { return C.GoString(C.bench_compiler()) }
