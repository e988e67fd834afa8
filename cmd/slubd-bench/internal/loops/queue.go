package loops

import (
	"errors"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

const queueDepth = 16

// errAbandoned reports that the other side of a queue failed.
var errAbandoned = errors.New("the other thread of the pair failed")

// queue passes batches of pointers from one producer to one consumer, as
// native's bench_queue does. Invariant: 0 <= tail-head <= queueDepth.
type queue struct {
	_    [128]byte // head and tail are written by different CPUs
	head atomic.Uint64
	_    [120]byte
	tail atomic.Uint64
	_    [120]byte
	dead atomic.Bool // set once by abandon
	_    [124]byte   // waiting sides look at dead while the producer fills slot
	slot [queueDepth][workload.XferBatch]unsafe.Pointer
}

// claim returns the next batch to fill; publish hands it over.
func (q *queue) claim() (*[workload.XferBatch]unsafe.Pointer, error) {
	tail := q.tail.Load()
	if err := q.await(&q.head, tail-queueDepth); err != nil {
		return nil, err
	}
	return &q.slot[tail%queueDepth], nil
}

func (q *queue) publish() { q.tail.Store(q.tail.Load() + 1) }

// take returns the next batch to free; release gives the room back.
func (q *queue) take() (*[workload.XferBatch]unsafe.Pointer, error) {
	head := q.head.Load()
	if err := q.await(&q.tail, head); err != nil {
		return nil, err
	}
	return &q.slot[head%queueDepth], nil
}

func (q *queue) release() { q.head.Store(q.head.Load() + 1) }

// abandon ends both sides' waiting.
func (q *queue) abandon() { q.dead.Store(true) }

const (
	// spinsPerYield is the patience before the CPU goes to another thread, as
	// in native's loops.
	spinsPerYield = 64
	// spinsPerSched is the patience before the P goes to another goroutine: a
	// thread that only yields its CPU keeps its P from the collector's workers,
	// and from its partner where threads outnumber CPUs.
	spinsPerSched = 32 * spinsPerYield
)

// await returns when *word no longer is value.
func (q *queue) await(word *atomic.Uint64, value uint64) error {
	for spins := 1; word.Load() == value; spins++ {
		if q.dead.Load() {
			return errAbandoned
		}
		relax(spins)
	}
	return nil
}

// relax lets others have the CPU now and then.
func relax(spins int) {
	switch {
	case spins%spinsPerSched == 0:
		runtime.Gosched()
	case spins%spinsPerYield == 0:
		yield()
	}
}
