package loops

import (
	"sync"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// ringSize is the number of objects without a slot that the Go heap keeps alive: enough to keep
// them off the stack, few enough for the ring itself to stay in L1.
const ringSize = 1024

// heap is the Go heap, which frees an object when its last pointer is dropped.
type heap struct {
	noBackground
	spec workload.Spec
}

func openHeap(s workload.Spec) (target, error) { return heap{spec: s}, nil }

// newObject is new for a size known at run time: an object without pointers. It measures as
// new([64]byte) does, or a little better.
func newObject(size int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
}

// heapThread is one thread on the Go heap; see loops_heap.go.
type heapThread struct {
	threadState[unsafe.Pointer]
	slices [][]byte // malloc-mix's live objects: to resize one, its length must be known
	ring   [ringSize]unsafe.Pointer
}

func (h heap) worker(index int, sh *shared) (worker, error) {
	t := &heapThread{threadState: newThread(h.spec, index, sh, &sh.pointers)}
	t.alloc = func(size, value int) (unsafe.Pointer, error) {
		p := newObject(size)
		if t.spec.Kind != workload.Churn { // churn's loop is the first to touch an object
			touch(p, value)
		}
		return p, nil
	}
	t.take = first
	if h.spec.Kind == workload.MallocMix {
		t.fillSlices()
		return worker{loop: t.mallocMix, stop: t.sumSlices, sum: &t.sum}, nil
	}
	loop := t.fixedLoop()
	if loop == nil {
		loop = t.sizedLoop()
	}
	w, err := t.threadState.worker(workload.Go, loop)
	w.stop = func() {
		t.stop()
		if index == 0 {
			sh.freeLeftovers(func(p unsafe.Pointer) { t.add(first(p)) })
		}
	}
	return w, err
}

// fillSlices is fill for malloc-mix, sumSlices is stop.
func (t *heapThread) fillSlices() {
	t.slices = make([][]byte, t.spec.Live)
	for i := range t.slices {
		size := int(t.sizes[t.random.Draw(uint32(len(t.sizes)))])
		t.slices[i] = make([]byte, size)
		touch(unsafe.Pointer(&t.slices[i][0]), int(t.random)+size)
	}
}

func (t *heapThread) sumSlices() {
	for _, object := range t.slices {
		t.add(first(unsafe.Pointer(&object[0])))
	}
}

func (t *heapThread) mallocMix(n int) error {
	for i := range n {
		slot := &t.slices[t.random.Draw(uint32(len(t.slices)))]
		size := int(t.sizes[t.random.Draw(uint32(len(t.sizes)))])
		object := make([]byte, size)
		if i%workload.MallocMixRealloc == 0 {
			copy(object, *slot)
			t.add(first(unsafe.Pointer(&object[0])))
		} else {
			t.add(first(unsafe.Pointer(&(*slot)[0])))
		}
		touch(unsafe.Pointer(&object[0]), int(t.random)+size)
		*slot = object
	}
	return nil
}

// classes reports the bytes that malloc-mix's sizes take: append uses all that the heap gives.
func (heap) classes() ([]workload.ClassBytes, error) {
	sizes := workload.MallocMix.Sizes()
	given := make([]uint32, len(sizes))
	for i, size := range sizes {
		given[i] = uint32(cap(append([]byte(nil), make([]byte, size)...)))
	}
	return workload.ByClass(sizes, given), nil
}

// pools is sync.Pool: one, or for mix and traces one per size. Objects go in as unsafe.Pointer,
// which an interface holds without allocating.
type pools struct {
	noBackground
	spec workload.Spec
	list []*sync.Pool
}

func openPool(s workload.Spec) (target, error) {
	sizes := []uint32{uint32(s.Size)}
	switch s.Kind {
	case workload.Mix:
		sizes = s.Kind.Sizes()
	case workload.Trace:
		cycle, err := replay.Load(s.Trace)
		if err != nil {
			return nil, err
		}
		sizes = cycle.Sizes
	}
	t := &pools{spec: s}
	for _, size := range sizes {
		t.list = append(t.list, &sync.Pool{New: func() any { return newObject(int(size)) }})
	}
	return t, nil
}

// get and put are small enough to be inlined.
func get(p *sync.Pool) unsafe.Pointer         { return p.Get().(unsafe.Pointer) }
func put(p *sync.Pool, object unsafe.Pointer) { p.Put(object) }

// poolThread is one thread on sync.Pool; see loops_pool.go.
type poolThread struct {
	threadState[unsafe.Pointer]
	pool *sync.Pool
}

func (a *pools) worker(index int, sh *shared) (worker, error) {
	t := &poolThread{threadState: newThread(a.spec, index, sh, &sh.pointers), pool: a.list[0]}
	if a.spec.Kind == workload.Mix {
		return worker{loop: a.mix(t.random)}, nil
	}
	t.alloc = func(int, int) (unsafe.Pointer, error) { return get(t.pool), nil }
	t.take = first // objects of the last run are left to the collector
	if a.spec.Kind == workload.Trace {
		return t.threadState.worker(workload.Pool, func(n int) error { return t.replay(a.list, n) })
	}
	return t.threadState.worker(workload.Pool, t.fixedLoop())
}

// mix is mix for one thread. A caller that frees to a pool must know which one, as malloc's
// callers need not, so an object is kept with the number of its size.
func (a *pools) mix(random workload.Random) func(n int) error {
	type sized struct {
		object unsafe.Pointer
		size   uint32
	}
	list, live := a.list, make([]sized, a.spec.Live)
	for i := range live {
		size := random.Draw(uint32(len(list)))
		live[i] = sized{object: get(list[size]), size: size}
	}
	return func(n int) error {
		r := random
		for i := range n {
			slot := r.Draw(uint32(len(live)))
			size := r.Draw(uint32(len(list)))
			put(list[live[slot].size], live[slot].object)
			object := get(list[size])
			touch(object, i)
			live[slot] = sized{object: object, size: size}
		}
		random = r
		return nil
	}
}

// replay is the template's loop of that name. Which pool an object goes back to is known from its
// event, as in mix.
func (t *poolThread) replay(list []*sync.Pool, n int) error {
	events, classes, live := t.cycle.Events, t.cycle.Classes, t.live
	for done := 0; done < n; done += t.spec.Batch {
		t.sum = 0
		for i := range events {
			slot, pool := &live[events[i].Number], list[classes[i]]
			if events[i].Size == 0 {
				t.add(first(*slot))
				put(pool, *slot)
				*slot = nil
				continue
			}
			p := get(pool)
			touch(p, i)
			*slot = p
		}
	}
	return nil
}
