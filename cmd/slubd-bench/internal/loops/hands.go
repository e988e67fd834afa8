package loops

import (
	"sync/atomic"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// hands is one thread of a workload of workload/malloc.go and what it holds: T is ref
// on slubd, a pointer on the Go heap. Its methods are what happens before and after the
// clock runs.
type hands[T comparable] struct {
	spec   workload.Spec
	index  int
	shared *shared
	common *common[T] // of shared
	sizes  []uint32
	random workload.Random
	weight uint64 // Spec.Weight
	sum    uint64 // of the first words of objects freed

	live   []T
	parcel *[]T   // objects on their way to another thread
	own    box[T] // sh6's other parcel, where sh8 has the shared one

	// make allocates an object and stores value; take frees one and returns it.
	make func(size, value int) (T, error)
	take func(T) uint64
}

// common is what threads of one allocator hand to each other.
type common[T any] struct {
	box[T]
	gifts []T // cache-scratch: one object for each thread, allocated in a row by one
}

// box holds the one array that no thread holds.
type box[T any] struct {
	_    [128]byte
	held atomic.Pointer[[]T]
	_    [120]byte
}

// exchange puts an array into the box and returns the one that was there. Nobody ever
// waits: there is one array more than threads.
func (b *box[T]) exchange(array *[]T) *[]T { return b.held.Swap(array) }

// room is an array for n objects.
func room[T any](n int) *[]T {
	array := make([]T, n)
	return &array
}

// prepare allocates what is alive from the beginning.
func (w *hands[T]) prepare() error {
	if err := w.shared.prepare(w.prepareShared); err != nil {
		return err
	}
	w.live = *room[T](w.spec.Live)
	switch w.spec.Kind {
	case workload.CacheScratch:
		w.free(w.common.gifts[w.index : w.index+1])
		return nil
	case workload.SH6:
		w.parcel = room[T](w.spec.Live)
		w.own.held.Store(room[T](w.spec.Live))
		return w.fill(*w.own.held.Load())
	case workload.SH8:
		w.parcel = room[T](w.spec.Live)
		return nil
	case workload.RPTest:
		w.parcel = room[T](w.spec.Batch)
	}
	return w.fill(w.live)
}

// prepareShared does what one thread does for all. It draws as if it were one more.
func (w *hands[T]) prepareShared() error {
	if w.spec.Kind == workload.CacheScratch {
		for i := range w.spec.Threads {
			object, err := w.make(w.spec.Size, i)
			if err != nil {
				return err
			}
			w.common.gifts = append(w.common.gifts, object)
		}
	}
	parent := hands[T]{sizes: w.sizes, random: workload.NewRandom(w.spec.Seed, w.spec.Threads), make: w.make}
	w.common.held.Store(room[T](sharedParcel(w.spec)))
	return parent.fill(*w.common.held.Load())
}

// sharedParcel is how many objects lie in the box when nobody has run yet.
func sharedParcel(s workload.Spec) int {
	switch s.Kind {
	case workload.Larson, workload.SH8:
		return s.Live
	case workload.RPTest:
		return s.Batch
	}
	return 0
}

// fill allocates objects of sizes that w draws.
func (w *hands[T]) fill(array []T) error {
	for i := range array {
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		var err error
		if array[i], err = w.make(size, int(w.random)+size); err != nil {
			return err
		}
	}
	return nil
}

// drain frees what w holds, and thread 0 what lies in the box and what a failing thread
// was not given. The rest is shared.leftovers.
func (w *hands[T]) drain() {
	arrays := []*[]T{&w.live, w.parcel, w.own.held.Load()}
	if w.index == 0 {
		arrays = append(arrays, w.common.held.Load(), &w.common.gifts)
	}
	for _, array := range arrays {
		if array != nil {
			w.free(*array)
		}
	}
}

// free frees those objects that there are.
func (w *hands[T]) free(array []T) {
	var none T
	for i, object := range array {
		if object != none {
			w.sum = w.sum*w.weight + w.take(object)
		}
		array[i] = none
	}
}
