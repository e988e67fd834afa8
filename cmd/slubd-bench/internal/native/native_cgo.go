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
}

// Run measures s with this process's malloc. One call into C per run.
func Run(s workload.Spec) (workload.Sample, error) {
	kind, ok := kinds[s.Kind]
	if !ok {
		return workload.Sample{}, fmt.Errorf("workload %s has no C loop", s.Kind)
	}
	if err := check(s, kind); err != nil {
		return workload.Sample{}, err
	}
	order := s.Order.Indices(max(1, s.Batch), s.Seed)
	sizes := workload.MixSizes()
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&order[0])
	pins.Pin(&sizes[0])

	ns := make([]int64, s.Threads)
	spec := C.struct_bench_spec{
		kind: kind, threads: C.int(s.Threads), batch: C.int(s.Batch), live: C.int(s.Live),
		size: C.size_t(s.Size), ops: C.int64_t(s.Ops), warm: C.int64_t(s.Warm), seed: C.uint64_t(s.Seed),
		order:  (*C.uint32_t)(&order[0]),
		nsizes: C.int(len(sizes)), sizes: (*C.uint32_t)(&sizes[0]),
	}
	C.bench_run(&spec, (*C.int64_t)(&ns[0]))
	return workload.PerThread(ns, s.Ops), nil
}

// check refuses what the loops would not survive: they trust their spec.
func check(s workload.Spec, kind C.enum_bench_kind) error {
	ok := s.Threads > 0 && s.Ops > 0
	switch kind {
	case C.BENCH_BATCH:
		ok = ok && s.Batch > 0
	case C.BENCH_CHURN, C.BENCH_MIX:
		ok = ok && s.Live > 0
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

// Draws returns the first count numbers below n that C draws for a thread.
// They must be those of workload.Random.
func Draws(seed uint64, thread int, n uint32, count int) []uint32 {
	state := C.bench_random(C.uint64_t(seed), C.int(thread))
	draws := make([]uint32, count)
	for i := range draws {
		draws[i] = uint32(C.bench_draw(&state, C.uint32_t(n)))
	}
	return draws
}
