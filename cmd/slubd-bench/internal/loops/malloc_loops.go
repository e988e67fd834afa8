package loops

import (
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// The loops in which a thread keeps its objects to itself. A slot whose object was freed
// is nil after an error, so that stop won't free it again.

// replace is alloc-test, and a round of larson.
func (w *mallocWorker) replace(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight := w.sum, w.weight
	for range n {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		sum = sum*weight + take(pointer(live[slot]))
		p, err := slub.Malloc(int(size))
		live[slot] = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(random)+int(size))
	}
	w.random, w.sum = random, sum
	return nil
}

func (w *mallocWorker) mix(n int) error {
	random, sizes, live := w.random, w.sizes, w.live
	sum, weight := w.sum, w.weight
	for i := range n {
		slot := random.Draw(uint32(len(live)))
		size := sizes[random.Draw(uint32(len(sizes)))]
		if i%workload.MallocMixRealloc == 0 {
			p, err := slub.Realloc(pointer(live[slot]), int(size))
			if err != nil {
				return err
			}
			sum = sum*weight + *(*uint64)(p)
			touch(p, int(random)+int(size))
			live[slot] = refOf(p)
			continue
		}
		sum = sum*weight + take(pointer(live[slot]))
		p, err := slub.Malloc(int(size))
		live[slot] = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(random)+int(size))
	}
	w.random, w.sum = random, sum
	return nil
}

// writeOften is cache-thrash, and cache-scratch after its gift is freed.
func (w *mallocWorker) writeOften(n int) error {
	size := w.spec.Size
	sum, weight := w.sum, w.weight
	for i := range n {
		p, err := slub.Malloc(size)
		if err != nil {
			return err
		}
		touch(p, i)
		for range workload.CacheWrites {
			*(*uint64)(p)++
		}
		sum = sum*weight + take(p)
	}
	w.sum = sum
	return nil
}
