package percpu

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Counters counts events off the fast path: one row per CPU, rows apart by whole
// cache lines, off-heap. Adding is atomic, since the row is chosen by a CPU number
// that may be stale; the row only keeps CPUs out of each other's way.
type Counters struct {
	base   uintptr
	stride uintptr // bytes per row
	n      int     // counters per row
}

// NewCounters makes n counters. The error is sys.Reserve's.
func NewCounters(n int) (Counters, error) {
	c := Counters{stride: mem.AlignUp(uintptr(n)*8, 2*mem.CacheLine), n: n}
	base, err := Reserve(c.stride * uintptr(NumCPU()))
	if err != nil {
		return Counters{}, fmt.Errorf("event counters: %w", err)
	}
	c.base = base
	populate(base, c.stride*uintptr(NumCPU()))
	return c, nil
}

// Add adds n to counter i. Any goroutine, any time.
func (c Counters) Add(i int, n uint64) {
	atomic.AddUint64(c.row(CPU(), i), n)
}

// Forget gives the pages back. The counters read 0 from then on, and may still be
// added to. The error is sys.Discard's.
func (c Counters) Forget() error { return discard(c.base, c.stride*uintptr(NumCPU())) }

func (c Counters) row(cpu, i int) *uint64 {
	return mem.At[uint64](c.base + uintptr(cpu)*c.stride + uintptr(i)*unsafe.Sizeof(uint64(0)))
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
