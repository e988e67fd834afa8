package loops

import (
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// The loops in which a thread keeps its objects to itself. A slot whose object was freed
// is nil after an error, so that stop won't free it again. w's fields are used where they
// lie; see doc.go.

// replace is alloc-test, and a round of larson.
func (w *mallocWorker) replace(n int) error {
	for range n {
		slot := &w.live[w.random.Draw(uint32(len(w.live)))]
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		w.add(value(*slot))
		slub.Free(pointer(*slot))
		p, err := slub.Malloc(size)
		*slot = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
	}
	return nil
}

// mix is replace without a look at the objects.
func (w *mallocWorker) mix(n int) error {
	for i := range n {
		slot := &w.live[w.random.Draw(uint32(len(w.live)))]
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		slub.Free(pointer(*slot))
		p, err := slub.Malloc(size)
		*slot = refOf(p)
		if err != nil {
			return err
		}
		touch(p, i)
	}
	return nil
}

func (w *mallocWorker) mallocMix(n int) error {
	for i := range n {
		slot := &w.live[w.random.Draw(uint32(len(w.live)))]
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		if i%workload.MallocMixRealloc == 0 {
			p, err := slub.Realloc(pointer(*slot), size)
			if err != nil {
				return err
			}
			*slot = refOf(p)
			w.add(value(*slot))
			touch(p, int(w.random)+size)
			continue
		}
		w.add(value(*slot))
		slub.Free(pointer(*slot))
		p, err := slub.Malloc(size)
		*slot = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
	}
	return nil
}

// fillEach allocates objects for all of array.
func (w *mallocWorker) fillEach(array []ref) error {
	for i := range array {
		size := int(w.sizes[w.random.Draw(uint32(len(w.sizes)))])
		p, err := slub.Malloc(size)
		if err != nil {
			return err
		}
		touch(p, int(w.random)+size)
		array[i] = refOf(p)
	}
	return nil
}

// freeEach frees what fillEach allocated.
func (w *mallocWorker) freeEach(array []ref) {
	for i, r := range array {
		w.add(value(r))
		slub.Free(pointer(r))
		array[i] = ref{}
	}
}

// freeBackwards does so in the opposite order.
func (w *mallocWorker) freeBackwards(array []ref) {
	for i := len(array) - 1; i >= 0; i-- {
		w.add(value(array[i]))
		slub.Free(pointer(array[i]))
		array[i] = ref{}
	}
}

// writeOften is cache-thrash, and cache-scratch after its gift is freed.
func (w *mallocWorker) writeOften(n int) error {
	for i := range n {
		p, err := slub.Malloc(w.spec.Size)
		if err != nil {
			return err
		}
		touch(p, i)
		for range workload.CacheWrites {
			*(*uint64)(p)++
		}
		w.add(*(*uint64)(p))
		slub.Free(p)
	}
	return nil
}
