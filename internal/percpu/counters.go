package percpu

import (
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// Counters counts events off the fast path, in a cell of per-CPU memory. Adding is
// atomic, since the row is chosen by a CPU number that may be stale; the row only keeps
// CPUs out of each other's way.
type Counters struct{ base uintptr }

// NewCounters makes n counters, at most MaxCounters. The error is sys.Reserve's.
func NewCounters(n int) (Counters, error) {
	if n > MaxCounters {
		panic(fmt.Sprintf("percpu: %d counters, a cell has room for %d", n, MaxCounters))
	}
	base, err := newCells(1)
	return Counters{base}, err
}

// MaxCounters is how many counters there can be together.
const MaxCounters = cellSize / 8

// Add adds n to counter i. Any goroutine, any time.
func (c Counters) Add(i int, n uint64) {
	atomic.AddUint64(c.row(CPU(), i), n)
}

// Forget gives the counters up, once. They read 0 from then on, and may still be added
// to. The error is sys.Discard's.
func (c Counters) Forget() error {
	clearWords(c.base)
	return killCell(c.base, false)
}

func (c Counters) row(cpu, i int) *uint64 {
	return mem.At[uint64](c.base + uintptr(cpu)<<rowShift + uintptr(i)*8)
}

// Sum returns counter i over all CPUs: every Add that happened before the call
// is in.
func (c Counters) Sum(i int) uint64 {
	var sum uint64
	for cpu := range NumCPU() {
		sum += atomic.LoadUint64(c.row(cpu, i))
	}
	return sum
}
