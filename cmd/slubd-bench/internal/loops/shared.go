package loops

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// shared is what the threads of a run hand to each other, as native's bench_shared and
// bench_queue.
type shared struct {
	queues   []*queue               // xfer: one per two threads
	depot    depot                  // xmalloc
	refs     common[ref]            // larson, rptest, sh8, cache-scratch on slubd
	pointers common[unsafe.Pointer] // the same on the Go heap
	// transfer holds mstress's objects between their owners.
	transfer [workload.MStressTransfer]unsafe.Pointer

	once sync.Once
	err  error // of prepare
}

func newShared(s workload.Spec) *shared {
	h := &shared{queues: make([]*queue, (s.Threads+1)/2)}
	for i := range h.queues {
		if s.Kind == workload.Xfer {
			h.queues[i] = new(queue)
		}
	}
	if s.Kind == workload.XMalloc {
		h.depot.stock(batchesPerPair * s.Threads / 2)
	}
	return h
}

// prepare has the first thread that comes do what one does for all: f.
func (h *shared) prepare(f func() error) error {
	h.once.Do(func() { h.err = f() })
	return h.err
}

// abandon ends everybody's waiting for a thread that failed.
func (h *shared) abandon() {
	for _, q := range h.queues {
		if q != nil {
			q.abandon()
		}
	}
	h.depot.dead.Store(true)
}

// leftovers hands out what is between threads when all have stopped: mstress's objects,
// and those of xmalloc that nobody took because a thread failed.
func (h *shared) leftovers(free func(unsafe.Pointer)) {
	arrays := [][]unsafe.Pointer{h.transfer[:]}
	for p := h.depot.full; p != nil; p = p.next {
		arrays = append(arrays, p.object[:])
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

// batchesPerPair is how many parcels of xmalloc go round for two threads.
const batchesPerPair = 16

// parcel is a batch of xmalloc's objects.
type parcel struct {
	next   *parcel
	object [workload.XMallocBatch]unsafe.Pointer
}

// depot is xmalloc's stacks of full and empty parcels, under one lock, which spins as
// native's does.
type depot struct {
	_           [128]byte
	lock        atomic.Uint32
	full, empty *parcel
	_           [104]byte
	dead        atomic.Bool // set once by abandon
}

func (d *depot) stock(n int) {
	for range n {
		d.push(&d.empty, new(parcel))
	}
}

// pop takes a parcel off one of d's stacks, waiting until there is one.
func (d *depot) pop(stack **parcel) (*parcel, error) {
	for spins := 1; ; spins++ {
		d.acquire()
		p := *stack
		if p != nil {
			*stack = p.next
		}
		d.lock.Store(0)
		switch {
		case p != nil:
			return p, nil
		case d.dead.Load():
			return nil, errAbandoned
		}
		relax(spins)
	}
}

func (d *depot) push(stack **parcel, p *parcel) {
	d.acquire()
	p.next = *stack
	*stack = p
	d.lock.Store(0)
}

func (d *depot) acquire() {
	for spins := 1; d.lock.Swap(1) != 0; spins++ {
		relax(spins)
	}
}

// onNewThread runs one phase of mstress: the thread ends with its goroutine, since that
// never unlocks it.
func onNewThread(phase func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- phase()
	}()
	return <-done
}
