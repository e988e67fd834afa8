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

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Available reports whether this build has the C loops.
const Available = true

// kinds maps the workloads onto C loops. bulk is a batch of 32 and prefill a
// pair, since malloc knows nothing like them.
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

	workload.RCURead:      C.BENCH_RCU_READ,
	workload.RCUEnter:     C.BENCH_RCU_ENTER,
	workload.FreeRCUFlood: C.BENCH_FREERCU_FLOOD,
	workload.GPLatency:    C.BENCH_GP_LATENCY,
}

// rival is what Load has loaded, nil before.
var rival *C.struct_bench_rival

// Load loads a library that Rival.Compile has made. From then on Run runs its loops, and
// no others.
func Load(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var why *C.char
	if rival = C.bench_load(name, &why); rival == nil {
		return fmt.Errorf("loading %s: %s", path, C.GoString(why))
	}
	return nil
}

// The parameters of both languages are the same, or this does not compile.
var _ = [1]struct{}{}[(C.BENCH_TRANSFER-workload.MStressTransfer)|(C.BENCH_MSTRESS_EVERY-workload.MStressEvery)|
	(C.BENCH_RPTEST_CROSS-workload.RPTestCross)|(C.BENCH_XMALLOC_BATCH-workload.XMallocBatch)|
	(C.BENCH_CACHE_WRITES-workload.CacheWrites)|(C.BENCH_MALLOC_MIX_REALLOC-workload.MallocMixRealloc)|
	(C.BENCH_SECTIONS-workload.SectionsPerReport)]

// Run measures s with this process's malloc, and with the rival if one is loaded. One call
// into C per run.
func Run(s workload.Spec) (workload.Sample, error) {
	kind, ok := kinds[s.Kind]
	if !ok || s.Kind.ByRCU() != (rival != nil) || rival != nil && C.bench_has(rival, kind) == 0 {
		return workload.Sample{}, fmt.Errorf("workload %s has no C loop", s.Kind)
	}
	if err := check(s, kind); err != nil {
		return workload.Sample{}, err
	}
	order := s.Order.Indices(max(1, s.Batch), s.Seed)
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
	var times []int64
	if s.Kind.ByPeriod() {
		times = make([]int64, max(s.Ops, s.Warm)*s.Threads)
		pins.Pin(&times[0])
		spec.times = (*C.int64_t)(&times[0])
	}
	checksum := C.bench_run(&spec, rival, (*C.int64_t)(&ns[0]), &drain)
	sample := workload.PerThread(ns, s.Ops)
	sample.Checksum = uint64(checksum)
	if readers.Count > 0 {
		sample.Extra = map[string]float64{workload.DrainTime: float64(drain) / float64(time.Millisecond)}
	}
	if times != nil {
		sample.Periods(times[:s.Ops*s.Threads])
	}
	if s.Kind == workload.MallocMix {
		given := make([]uint32, len(sizes))
		C.bench_usable(spec.sizes, spec.nsizes, (*C.uint32_t)(&given[0]))
		sample.Classes = workload.ByClass(sizes, given)
	}
	return sample, nil
}

// check refuses what the loops would not survive: they trust their spec.
func check(s workload.Spec, kind C.enum_bench_kind) error {
	ok := s.Threads > 0 && s.Ops > 0
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
	case C.BENCH_CACHE_SCRATCH, C.BENCH_CACHE_THRASH:
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

// Verify checks who serves malloc: the library that exports symbol, or, when
// symbol is empty, none of Libraries. It returns that library's path.
func Verify(symbol string) (path string, err error) {
	path = provider("malloc")
	if symbol != "" {
		if marker := provider(symbol); marker == "" || marker != path {
			return path, fmt.Errorf("LD_PRELOAD had no effect: malloc comes from %s, %s from %q", path, symbol, marker)
		}
		return path, nil
	}
	for _, l := range Libraries() {
		if l.Symbol != "" && provider(l.Symbol) != "" {
			return path, fmt.Errorf("%s is loaded although the C library's malloc is to be measured", l.File)
		}
	}
	return path, nil
}

func provider(symbol string) string {
	name := C.CString(symbol)
	defer C.free(unsafe.Pointer(name))
	return C.GoString(C.bench_provider(name))
}

// Version names what serves malloc, with its version as the library itself tells it.
func Version() string {
	var text [128]C.char
	C.bench_version(&text[0], C.size_t(len(text)))
	return C.GoString(&text[0])
}

// Compiler names the C compiler that this build's loops are from, with its version.
func Compiler() string { return C.GoString(C.bench_compiler()) }
