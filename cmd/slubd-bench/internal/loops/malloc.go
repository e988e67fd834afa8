package loops

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// mallocs is slubd for the workloads of workload/malloc.go: slub.Malloc and slub.Free,
// whose caches belong to the process.
type mallocs struct{ spec workload.Spec }

func (mallocs) backdrop() func() (map[string]float64, error) { return quiet() }
func (mallocs) close() error                                 { return nil }

// mallocWorker is one thread.
type mallocWorker struct{ hands[ref] }

func (a mallocs) worker(thread int, h *shared) (worker, error) {
	s := a.spec
	w := &mallocWorker{hands[ref]{
		spec: s, index: thread, shared: h, common: &h.refs, sizes: s.Kind.Sizes(),
		weight: s.Weight(),
		random: workload.NewRandom(s.Seed, thread),
		make: func(size, value int) (ref, error) {
			p, err := slub.Malloc(size)
			if err == nil {
				touch(p, value)
			}
			return refOf(p), err
		},
		take: func(r ref) uint64 { return take(pointer(r)) },
	}}
	loop := map[workload.Kind]func(n int) error{
		workload.Larson: w.larson, workload.MStress: w.mstress, workload.RPTest: w.rptest,
		workload.XMalloc: w.produce, workload.SH6: w.sh, workload.SH8: w.sh,
		workload.AllocTest: w.replace, workload.CacheScratch: w.writeOften,
		workload.CacheThrash: w.writeOften, workload.MallocMix: w.mallocMix, workload.Mix: w.mix,
	}[s.Kind]
	if s.Kind == workload.XMalloc && thread%2 == 1 {
		loop = w.consume
	}
	return worker{loop: loop, stop: w.stop, sum: &w.sum}, w.prepare()
}

// stop frees what w holds, and thread 0 what lies between threads.
func (w *mallocWorker) stop() {
	w.drain()
	if w.index == 0 {
		w.shared.leftovers(func(p unsafe.Pointer) { w.sum = w.sum*w.weight + take(p) })
	}
}

// take frees an object and returns what touch stored.
func take(p unsafe.Pointer) uint64 {
	value := *(*uint64)(p)
	slub.Free(p)
	return value
}

// value is what touch stored in an object.
func value(r ref) uint64 { return *(*uint64)(pointer(r)) }

// add has the thread's sum depend on v and on the order of all that came before.
func (w *mallocWorker) add(v uint64) { w.sum = w.sum*w.weight + v }

// classes says what malloc-mix's sizes take.
func (mallocs) classes() ([]workload.ClassBytes, error) {
	sizes := workload.MallocMix.Sizes()
	given := make([]uint32, len(sizes))
	var errs []error
	for i, size := range sizes {
		p, err := slub.Malloc(int(size))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		given[i] = uint32(slub.Size(p))
		slub.Free(p)
	}
	return workload.ByClass(sizes, given), errors.Join(errs...)
}
