package loops

import (
	"errors"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// ref is how a Go program keeps many objects that are not on its heap. To the collector it is a
// number, which needs neither scanning nor a write barrier.
type ref = slub.Ref[uint64]

func refOf(p unsafe.Pointer) ref { return slub.RefOf((*uint64)(p)) }

func pointer(r ref) unsafe.Pointer { return unsafe.Pointer(r.Ptr()) }

// openSlubd opens slubd in the form that a workload is about: a cache, slub.Malloc, Accounts, two
// caches at their arena's limit, an arena of several nodes, or an RCU domain without objects.
func openSlubd(s workload.Spec) (target, error) {
	switch {
	case s.Kind.ByMalloc() || s.Kind == workload.Mix:
		return mallocs{spec: s}, nil
	case s.Kind.BySection() || s.Kind.ByPeriod():
		return newSections(s), nil
	case s.Kind == workload.TailIdle:
		return idle{spec: s}, nil
	case s.Kind == workload.Buckets:
		return buckets{size: s.Size}, nil
	case s.Kind == workload.Account:
		return accounts{size: s.Size}, nil
	case s.Kind == workload.Reclaim:
		return &reclaims{spec: s}, nil
	}
	if s.Kind.OnNodes() {
		return openNodes(s, machine.System())
	}
	return openCache(s)
}

func openCache(s workload.Spec) (t *cache, err error) {
	t = &cache{spec: s}
	t.Cache, err = slub.New(nil, slub.Config{Name: "bench-" + string(s.Kind), Size: int64(s.Size), Domain: &t.domain})
	return t, err
}

// cache is a slub.Cache and the domain whose grace periods FreeRCU waits for.
type cache struct {
	*slub.Cache
	spec   workload.Spec
	domain rcu.Domain
}

func (c *cache) close() error { return c.Close() }

func (c *cache) background() func() (map[string]float64, error) {
	return startReaders(&c.domain, c.spec)
}

// cacheThread is one thread on a cache; see loops_cache.go.
type cacheThread struct {
	threadState[ref]
	cache     *slub.Cache
	prefilled *slub.Prefilled
}

func (c *cache) worker(index int, sh *shared) (worker, error) {
	t := &cacheThread{threadState: newThread(c.spec, index, sh, &sh.refs), cache: c.Cache}
	t.alloc = func(int, int) (ref, error) { // churn's loop is the first to touch the object
		p, err := c.Alloc()
		return refOf(p), err
	}
	t.take = func(r ref) uint64 {
		value := first(pointer(r))
		c.Free(pointer(r))
		return value
	}
	switch c.spec.Kind {
	case workload.Bulk:
		return t.threadState.worker(workload.Slubd, t.bulk())
	case workload.RCU, workload.FreeRCUFlood:
		return t.threadState.worker(workload.Slubd, t.freeRCU)
	case workload.Prefill:
		var err error
		if t.prefilled, err = c.Prefill(prefillObjects); err != nil {
			return worker{}, err
		}
		return worker{loop: t.prefill, stop: t.prefilled.Return}, nil
	}
	return t.threadState.worker(workload.Slubd, t.fixedLoop())
}

func (t *cacheThread) bulk() func(n int) error {
	live := make([]unsafe.Pointer, t.spec.Batch)
	return func(n int) error { return bulk(t.cache, live, n) }
}

func bulk(c *slub.Cache, live []unsafe.Pointer, n int) error {
	for done := 0; done < n; done += len(live) {
		if err := c.AllocBulk(live); err != nil {
			return err
		}
		for i, p := range live {
			touch(p, i)
		}
		c.FreeBulk(live)
	}
	return nil
}

// prefillObjects is the number of objects that prefill borrows: less than any sheaf holds.
const prefillObjects = 4

var errPrefillEmpty = errors.New("the prefilled sheaf is empty after Refill")

// prefill is what a user of Prefill writes. An object that the sheaf does not take goes to the
// cache, and an empty sheaf is filled again. Neither happens where objects come straight back,
// but both do in builds with invariants and with objects of other nodes.
func (t *cacheThread) prefill(n int) error {
	c, sheaf := t.cache, t.prefilled
	for i := range n {
		object := sheaf.Alloc()
		if object == nil {
			if err := sheaf.Refill(prefillObjects); err != nil {
				return err
			}
			if object = sheaf.Alloc(); object == nil {
				return errPrefillEmpty
			}
		}
		touch(object, i)
		if !sheaf.Free(object) {
			c.Free(object)
		}
	}
	return nil
}

func (t *cacheThread) freeRCU(n int) error {
	c := t.cache
	for i := range n {
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		c.FreeRCU(p)
	}
	return nil
}

// mallocs is slub.Malloc and slub.Free, whose caches belong to the process.
type mallocs struct {
	noBackground
	spec workload.Spec
}

// mallocThread is one thread on slub.Malloc; see loops_malloc.go.
type mallocThread struct{ threadState[ref] }

func (m mallocs) worker(index int, sh *shared) (worker, error) {
	t := &mallocThread{newThread(m.spec, index, sh, &sh.refs)}
	t.alloc = func(size, value int) (ref, error) {
		p, err := slub.Malloc(size)
		if err == nil {
			touch(p, value)
		}
		return refOf(p), err
	}
	take := func(p unsafe.Pointer) uint64 {
		value := first(p)
		slub.Free(p)
		return value
	}
	t.take = func(r ref) uint64 { return take(pointer(r)) }
	loop := t.sizedLoop()
	if m.spec.Kind == workload.MallocMix {
		loop = t.mallocMix
	}
	w, err := t.threadState.worker(workload.Slubd, loop)
	w.stop = func() {
		t.stop()
		if index == 0 {
			sh.freeLeftovers(func(p unsafe.Pointer) { t.add(take(p)) })
		}
	}
	return w, err
}

func (t *mallocThread) mallocMix(n int) error {
	for i := range n {
		slot := &t.live[t.random.Draw(uint32(len(t.live)))]
		size := int(t.sizes[t.random.Draw(uint32(len(t.sizes)))])
		if i%workload.MallocMixRealloc == 0 {
			p, err := slub.Realloc(pointer(*slot), size)
			if err != nil {
				return err
			}
			*slot = refOf(p)
			t.add(first(p))
			touch(p, int(t.random)+size)
			continue
		}
		t.add(first(pointer(*slot)))
		slub.Free(pointer(*slot))
		p, err := slub.Malloc(size)
		*slot = refOf(p)
		if err != nil {
			return err
		}
		touch(p, int(t.random)+size)
	}
	return nil
}

// classes reports the bytes that malloc-mix's sizes take.
func (mallocs) classes() ([]workload.ClassBytes, error) {
	sizes := workload.MallocMix.Sizes()
	given := make([]uint32, len(sizes))
	for i, size := range sizes {
		p, err := slub.Malloc(int(size))
		if err != nil {
			return nil, err
		}
		given[i] = uint32(slub.Size(p))
		slub.Free(p)
	}
	return workload.ByClass(sizes, given), nil
}
