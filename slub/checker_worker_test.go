package slub_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"unsafe"

	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// A worker performs random operations on the subjects and holds objects of each.
type worker struct {
	rng    *rand.Rand
	stamp  uint64 // the last one used, even; the worker's number is in the upper bits
	ops    int    // objects still to allocate or free
	held   [][]unsafe.Pointer
	locals []*slub.Local // by subject; nil for none
	count  []struct{ taken, given, retired, failed int64 }
	nodes  []numa.Node
}

// maxHeld bounds the objects of a subject that a worker holds: far more than its CPU's sheaves
// and its share of a barn have room for, so that slabs fill up and become empty.
const maxHeld = 2000

// heldBytes bounds the same for large objects.
const heldBytes = 256 << 10

func newWorker(number int, seed uint64, ops int, subjects []*subject) *worker {
	w := &worker{rng: rand.New(rand.NewPCG(seed, uint64(number))), stamp: uint64(number+1) << 40, ops: ops}
	w.held, w.locals = make([][]unsafe.Pointer, len(subjects)), make([]*slub.Local, len(subjects))
	w.count = make([]struct{ taken, given, retired, failed int64 }, len(subjects))
	w.nodes = subjects[0].cache.Arena().Topology().Fallback(numa.NoNode) // all with memory
	return w
}

// run works until its share is done or the ledger has found too many faults.
func (w *worker) run(subjects []*subject, menu []op) {
	for w.ops > 0 && !subjects[0].broken() {
		i := w.rng.IntN(len(subjects))
		menu[w.rng.IntN(len(menu))](w, subjects[i], i)
		if w.rng.IntN(64) == 0 {
			runtime.Gosched()
		}
	}
	for i, s := range subjects {
		c := &w.count[i]
		s.tally.taken.Add(c.taken)
		s.tally.given.Add(c.given)
		s.tally.retired.Add(c.retired)
		s.tally.failed.Add(c.failed)
	}
}

// took records an object that the worker has just allocated.
func (w *worker) took(s *subject, i int, p unsafe.Pointer) {
	w.stamp += 2
	w.ops--
	w.count[i].taken++
	s.fresh(p, w.stamp)
}

// missed counts a call that failed; the reason must be a lack of memory.
func (w *worker) missed(s *subject, i int, err error) {
	w.ops--
	w.count[i].failed++
	s.failure.CompareAndSwap(nil, &err)
	if !errors.Is(err, slub.ErrNoMemory) {
		s.faultf("cache %q: %v", s.cache.Name(), err)
	}
}

func (w *worker) alloc(s *subject, i int) unsafe.Pointer {
	p, err := s.cache.Alloc()
	if err != nil {
		w.missed(s, i, err)
		return nil
	}
	w.took(s, i, p)
	return p
}

func (w *worker) free(s *subject, i int, p unsafe.Pointer) {
	w.ops--
	w.count[i].given++
	s.leave(p)
	s.cache.Free(p)
}

// keep holds an object, or frees it if there are enough.
func (w *worker) keep(s *subject, i int, p unsafe.Pointer) {
	if p == nil {
		return
	}
	if len(w.held[i]) < w.most(s) {
		w.held[i] = append(w.held[i], p)
		return
	}
	w.free(s, i, p)
}

func (w *worker) most(s *subject) int { return min(maxHeld, int(heldBytes/s.size)) }

// lose removes up to n random objects from those held.
func (w *worker) lose(i, n int) []unsafe.Pointer {
	held := w.held[i]
	n = min(n, len(held))
	for k := range n {
		last := len(held) - 1 - k
		at := w.rng.IntN(last + 1)
		held[at], held[last] = held[last], held[at]
	}
	w.held[i] = held[:len(held)-n]
	return slices.Clone(held[len(held)-n:])
}

// empty frees all objects held, after the audit has counted them.
func (w *worker) empty(subjects []*subject) {
	for i, s := range subjects {
		for _, p := range w.held[i] {
			s.leave(p)
			s.cache.Free(p)
			s.tally.given.Add(1)
		}
		w.held[i] = nil
		if l := w.locals[i]; l != nil {
			l.Close()
		}
	}
}
