package loops

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// threadState is one thread of a run and the objects that it holds, as bench_worker in C. T is the
// type of a kept object: ref on slubd, a pointer on the Go heap. The methods run outside the
// timed part.
type threadState[T comparable] struct {
	spec    workload.Spec
	index   int
	shared  *shared
	mailbox *mailbox[T] // of shared
	queue   *queue      // of shared: xfer's
	sizes   []uint32    // nil: all objects have spec.Size
	random  workload.Random
	weight  uint64 // Spec.Weight
	sum     uint64 // of the first words of objects freed

	recorder *tail.Recorder // of a workload that times every call

	slots []T      // batch's, whose objects are freed after each operation
	order []uint32 // order of freeing
	live  []T
	batch *[]T           // objects on their way to another thread
	own   mailbox[T]     // sh6's second batch, where sh8 uses the shared mailbox
	cycle *replay.Replay // of a trace

	alloc func(size, value int) (T, error) // allocates an object and stores value in it
	take  func(T) uint64                   // frees an object and returns its first word
}

// newThread returns the state of one thread before prepare.
func newThread[T comparable](s workload.Spec, index int, sh *shared, m *mailbox[T]) threadState[T] {
	var r *tail.Recorder
	if s.Kind.ByTail() {
		r = newRecorder(s)
	}
	return threadState[T]{
		recorder: r,
		spec:     s, index: index, shared: sh, mailbox: m, queue: sh.queues[index/2],
		sizes: s.Kind.Sizes(), random: workload.NewRandom(s.Seed, index), weight: s.Weight(),
	}
}

// worker returns the thread's part of a run. The loop is nil if the target does not have it.
func (t *threadState[T]) worker(target string, loop func(n int) error) (worker, error) {
	if loop == nil {
		return worker{}, noLoop(target, t.spec.Kind)
	}
	w := worker{loop: loop, stop: t.stop, sum: &t.sum, recorder: t.recorder}
	if t.recorder != nil {
		w.loop = restarted(t.recorder, loop)
	}
	return w, t.prepare()
}

// add makes the thread's sum depend on v and on the order of all words before it.
func (t *threadState[T]) add(v uint64) { t.sum = t.sum*t.weight + v }

// prepare allocates the objects that are alive from the start.
func (t *threadState[T]) prepare() error {
	if err := t.shared.prepare(t.prepareShared); err != nil {
		return err
	}
	t.live = make([]T, t.spec.Live)
	if t.spec.Kind == workload.Trace {
		return t.prepareTrace()
	}
	if t.spec.Kind == workload.TailCross && t.index%2 == 0 {
		t.live = nil // the other side keeps them
	}
	switch t.spec.Kind {
	case workload.Batch, workload.Bulk:
		t.slots = make([]T, t.spec.Batch)
		t.order = t.spec.Order.Indices(t.spec.Batch, t.spec.Seed)
		return nil
	case workload.CacheScratch:
		t.free(t.mailbox.prealloc[t.index : t.index+1])
		return nil
	case workload.SH6:
		t.batch = newArray[T](t.spec.Live)
		t.own.held.Store(newArray[T](t.spec.Live))
		return t.fill(*t.own.held.Load())
	case workload.SH8:
		t.batch = newArray[T](t.spec.Live)
		return nil
	case workload.RPTest:
		t.batch = newArray[T](t.spec.Batch)
	case workload.TailBursty, workload.TailPhases:
		t.batch = newArray[T](t.spec.Wave())
	}
	return t.fill(t.live)
}

// prepareTrace finds the events. No object is alive at their beginning.
func (t *threadState[T]) prepareTrace() (err error) {
	t.cycle, err = replay.Load(t.spec.Trace)
	if err == nil && (t.spec.Batch != t.cycle.Pairs() || t.spec.Live != t.cycle.Objects) {
		return fmt.Errorf("impossible run of a trace with %d objects: %+v", t.cycle.Pairs(), t.spec)
	}
	return err
}

// prepareShared does what one thread does for all. It draws as one more thread would.
func (t *threadState[T]) prepareShared() error {
	if t.spec.Kind == workload.CacheScratch {
		for i := range t.spec.Threads {
			object, err := t.alloc(t.spec.Size, i)
			if err != nil {
				return err
			}
			t.mailbox.prealloc = append(t.mailbox.prealloc, object)
		}
	}
	parent := threadState[T]{sizes: t.sizes, random: workload.NewRandom(t.spec.Seed, t.spec.Threads), alloc: t.alloc}
	n := 0
	switch t.spec.Kind {
	case workload.Larson, workload.SH8:
		n = t.spec.Live
	case workload.RPTest:
		n = t.spec.Batch
	}
	t.mailbox.held.Store(newArray[T](n))
	return parent.fill(*t.mailbox.held.Load())
}

// fill allocates objects of sizes that t draws, or of spec.Size.
func (t *threadState[T]) fill(array []T) error {
	for i := range array {
		size := t.spec.Size
		if t.sizes != nil {
			size = int(t.sizes[t.random.Draw(uint32(len(t.sizes)))])
		}
		var err error
		if array[i], err = t.alloc(size, int(t.random)+size); err != nil {
			return err
		}
	}
	return nil
}

// stop frees the objects that t holds. Thread 0 also frees those between threads.
func (t *threadState[T]) stop() {
	arrays := []*[]T{&t.live, t.batch, t.own.held.Load()}
	if t.index == 0 {
		arrays = append(arrays, t.mailbox.held.Load(), &t.mailbox.prealloc)
	}
	for _, array := range arrays {
		if array != nil {
			t.free(*array)
		}
	}
}

// free frees the objects of an array that has gaps, and clears it.
func (t *threadState[T]) free(array []T) {
	var none T
	for i, object := range array {
		if object != none {
			t.add(t.take(object))
		}
		array[i] = none
	}
}

// mailbox holds the one array that no thread holds, and what one thread prepares for all.
type mailbox[T any] struct {
	_        [128]byte
	held     atomic.Pointer[[]T]
	_        [120]byte
	prealloc []T // cache-scratch: adjacent objects, one for each thread
}

// swap puts an array into the mailbox and returns the one that was there. No thread ever waits,
// because there is one array more than threads.
func (m *mailbox[T]) swap(array *[]T) *[]T { return m.held.Swap(array) }

func newArray[T any](n int) *[]T {
	array := make([]T, n)
	return &array
}

// touch is the one store into every object, as in C's alloc.
func touch(p unsafe.Pointer, value int) { *(*uint64)(p) = uint64(value) }

// first returns the word that touch stored.
func first(p unsafe.Pointer) uint64 { return *(*uint64)(p) }
