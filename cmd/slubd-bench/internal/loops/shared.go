package loops

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// errAbandoned reports a thread that waited for one that failed.
var errAbandoned = errors.New("another thread of the run failed")

// shared is what the threads of a run hand to each other, as bench_shared and bench_queue in C.
type shared struct {
	queues   []*queue                // xfer: one for each two threads
	exchange exchange                // xmalloc
	refs     mailbox[ref]            // larson, rptest, sh8 and cache-scratch on slubd
	pointers mailbox[unsafe.Pointer] // the same on the Go heap
	// transfer holds mstress's objects between their owners.
	transfer [workload.MStressTransfer]unsafe.Pointer

	once sync.Once
	err  error // of prepare
}

func newShared(s workload.Spec) *shared {
	sh := &shared{queues: make([]*queue, (s.Threads+1)/2)}
	for i := range sh.queues {
		if s.Kind == workload.Xfer || s.Kind == workload.TailCross {
			sh.queues[i] = new(queue)
		}
	}
	for i := 0; s.Kind == workload.XMalloc && i < batchesPerPair*s.Threads/2; i++ {
		sh.exchange.push(&sh.exchange.empty, new(objectBatch))
	}
	return sh
}

// prepare runs f in the first thread that calls it. The others wait for it and get its error.
func (sh *shared) prepare(f func() error) error {
	sh.once.Do(func() { sh.err = f() })
	return sh.err
}

// abandon ends all waiting for a thread that failed.
func (sh *shared) abandon() {
	for _, q := range sh.queues {
		if q != nil {
			q.dead.Store(true)
		}
	}
	sh.exchange.dead.Store(true)
}

// freeLeftovers frees the objects between threads after all have stopped: mstress's, and those of
// xmalloc that were not consumed because a thread failed.
func (sh *shared) freeLeftovers(free func(unsafe.Pointer)) {
	arrays := [][]unsafe.Pointer{sh.transfer[:]}
	for b := sh.exchange.full; b != nil; b = b.next {
		arrays = append(arrays, b.object[:])
	}
	for _, array := range arrays {
		for i, object := range array {
			if object != nil {
				free(object)
			}
			array[i] = nil
		}
	}
}

// batchesPerPair is the number of batches that xmalloc has for two threads.
const batchesPerPair = 16

// objectBatch is a batch of xmalloc's objects.
type objectBatch struct {
	next   *objectBatch
	object [workload.XMallocBatch]unsafe.Pointer
}

// exchange is xmalloc's stacks of full and empty batches, under one spin lock as in C.
type exchange struct {
	_           [128]byte
	lock        atomic.Uint32
	full, empty *objectBatch
	_           [104]byte
	dead        atomic.Bool // set once, by abandon
}

// pop takes a batch off one of the stacks and waits until there is one.
func (x *exchange) pop(stack **objectBatch) (*objectBatch, error) {
	for spins := 1; ; spins++ {
		x.acquire()
		b := *stack
		if b != nil {
			*stack = b.next
		}
		x.lock.Store(0)
		switch {
		case b != nil:
			return b, nil
		case x.dead.Load():
			return nil, errAbandoned
		}
		relax(spins)
	}
}

func (x *exchange) push(stack **objectBatch, b *objectBatch) {
	x.acquire()
	b.next = *stack
	*stack = b
	x.lock.Store(0)
}

func (x *exchange) acquire() {
	for spins := 1; x.lock.Swap(1) != 0; spins++ {
		relax(spins)
	}
}

const queueDepth = 16

// queue passes batches of pointers from one producer to one consumer, as C's bench_queue does.
// Invariant: 0 <= tail-head <= queueDepth.
type queue struct {
	_    [128]byte // different CPUs write head and tail
	head atomic.Uint64
	_    [120]byte
	tail atomic.Uint64
	_    [120]byte
	dead atomic.Bool // set once, by abandon
	_    [124]byte   // a waiting side reads dead while the producer fills slot
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

// full reports whether claim would wait, empty whether take would.
func (q *queue) full() bool  { return q.tail.Load()-q.head.Load() == queueDepth }
func (q *queue) empty() bool { return q.tail.Load() == q.head.Load() }

func (q *queue) publish() { q.tail.Store(q.tail.Load() + 1) }

// take returns the next batch to free; release gives its slot back.
func (q *queue) take() (*[workload.XferBatch]unsafe.Pointer, error) {
	head := q.head.Load()
	if err := q.await(&q.tail, head); err != nil {
		return nil, err
	}
	return &q.slot[head%queueDepth], nil
}

func (q *queue) release() { q.head.Store(q.head.Load() + 1) }

// await returns when *word no longer has the value.
func (q *queue) await(word *atomic.Uint64, value uint64) error {
	for spins := 1; word.Load() == value; spins++ {
		if q.dead.Load() {
			return errAbandoned
		}
		relax(spins)
	}
	return nil
}

const (
	// spinsPerYield is the number of looks after which the CPU goes to another thread, as in C.
	spinsPerYield = 64
	// spinsPerSched is the number of looks after which the P goes to another goroutine. A thread
	// that only yields its CPU keeps its P from the collector's workers, and from its partner
	// where there are more threads than CPUs.
	spinsPerSched = 32 * spinsPerYield
)

// relax lets other threads and goroutines run now and then.
func relax(spins int) {
	switch {
	case spins%spinsPerSched == 0:
		runtime.Gosched()
	case spins%spinsPerYield == 0:
		yield()
	}
}

// onNewThread runs one phase of mstress, on a CPU if that is not -1. Its OS thread ends with the
// goroutine, which never unlocks it.
func onNewThread(cpu int, phase func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		_, err := pin(cpu)
		if err == nil {
			err = phase()
		}
		done <- err
	}()
	return <-done
}
