package percpu

import (
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// Counters counts events off the fast path, in a cell of per-CPU memory. Additions are atomic,
// since the CPU number that chooses the row may be stale. The rows only keep CPUs from sharing
// cache lines.
type Counters struct{ base uintptr }

// NewCounters makes n counters, at most MaxCounters. The error is sys.Reserve's.
func NewCounters(n int) (Counters, error) {
	if n > MaxCounters {
		panic(fmt.Sprintf("percpu: %d counters, a cell has room for %d", n, MaxCounters))
	}
	base, err := newCells(1)
	return Counters{base: base}, err
}

// MaxCounters is the largest number of counters in one Counters.
const MaxCounters = cellSize / 8

// Add adds n to counter i. Any goroutine may call it, at any time.
func (c Counters) Add(i int, n uint64) {
	cpu := CPU()
	setMark(c.base, cpu) // before the count can be seen; see Sum
	atomic.AddUint64(c.row(cpu, i), n)
}

// Free frees the counters; it is called once. They read 0 from then on. Add may still be called.
// The error is sys.Discard's.
func (c Counters) Free() error {
	clearWords(c.base)
	return freeCell(c.base, false)
}

func (c Counters) row(cpu, i int) *uint64 {
	return mem.At[uint64](c.base + uintptr(cpu)<<rowShift + uintptr(i)*8)
}

// PerCPU yields the CPUs that have counted anything, and counter i of each. An Add that happened
// before the call is in it.
func (c Counters) PerCPU(i int) iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for cpu := range marked(c.base) {
			if !yield(cpu, atomic.LoadUint64(c.row(cpu, i))) {
				return
			}
		}
	}
}

// Sum returns the sum of counter i over all CPUs. It includes every Add that happened before the
// call.
func (c Counters) Sum(i int) uint64 {
	var sum uint64
	for cpu := range marked(c.base) {
		sum += atomic.LoadUint64(c.row(cpu, i))
	}
	return sum
}

// Sums returns the sums of all counters over all CPUs. It is Sum for each of them in one visit of
// each CPU, whose counters lie side by side: with many CPUs it takes a fraction of the time. It
// includes every Add that happened before the call.
func (c Counters) Sums() (sums [MaxCounters]uint64) {
	for cpu := range prefetched(c.base) {
		row := mem.At[[MaxCounters]uint64](c.base + uintptr(cpu)<<rowShift)
		for i := range MaxCounters {
			sums[i] += atomic.LoadUint64(&row[i])
		}
	}
	return sums
}
