package slub

import (
	"context"
	"fmt"
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/sheaves"
)

// Above maxClass there are classes of whole pages, eight between powers of two, up to maxPageClass.
// Each is a cache as well, with one object in each slab. So an object that is allocated and freed
// again and again stays in a sheaf. A mark of its slab shows a second free; see single.
// docs/rfcs says why these are caches, and not a list of runs for each CPU.
//
// A cache costs some KiB for each CPU, and few programs use many of these sizes: the first Malloc
// of a size has another goroutine make the cache. To make one takes about 100 us, and waits for
// destructors if a backlog is just being expedited. Until it is made, and if it can't be, objects
// of that size are page runs. Partitions share the caches.
//
// Sheaves and barns are bounded in bytes, see sheaves.Capacity and pageClass. No empty slab is
// kept: the arena has what sheaves don't hold.

// maxPageClass is the largest class. Larger objects are runs and mappings of their own.
const maxPageClass = 1 << 20

// retryPageClass is how long after a failure the next Malloc of a class tries to make its cache
// again.
const retryPageClass = time.Second

// pageClassSizes are the sizes of the page classes in bytes.
var pageClassSizes = func() (sizes []uintptr) {
	for size := uintptr(maxClass); size < maxPageClass; {
		size = runBytes(size + 1)
		sizes = append(sizes, size)
	}
	return sizes
}()

// numPageClasses is the number of page classes: eight to each power of two.
const numPageClasses = 8 * 5

var _ = [1]struct{}{}[maxPageClass-maxClass<<(numPageClasses/8)]

// pageClassOf returns the index of the class for n bytes, more than maxClass and at most
// maxPageClass. Bits 12 to 14 below the highest bit of n-1 are the step between powers of two.
func pageClassOf(n uintptr) int {
	log := bits.Len(uint(n-1)) - 1 // n-1 has its highest bit here, at 15 or above
	return (log-bits.Len(maxClass)+1)<<3 + int((n-1)>>(log-3)&7)
}

// pageClasses are the caches of the page classes.
type pageClasses struct {
	caches  []atomic.Pointer[Cache] // by class; nil: not made yet. Changed under mu
	begun   []atomic.Bool           // by class: a goroutine makes the cache, or has just failed to
	firstID uint32                  // number of the first class; those of the others follow
	mu      sync.Mutex              // held while a cache is made, and by Close
	closed  bool                    // no more are made. Under mu
}

// made yields the caches that there are.
func (p *pageClasses) made() iter.Seq2[int, *Cache] {
	return func(yield func(int, *Cache) bool) {
		for i := range p.caches {
			if c := p.caches[i].Load(); c != nil && !yield(i, c) {
				return
			}
		}
	}
}

// pageClass returns the cache for n bytes, more than maxClass; nil if n is too large, and before
// the cache is made. It waits for nothing.
func (b *Buckets) pageClass(n uintptr) *Cache {
	if n > maxPageClass {
		return nil
	}
	class := pageClassOf(n)
	c := b.pages.caches[class].Load()
	if c == nil && !b.pages.begun[class].Swap(true) {
		go b.makePageClass(class)
	}
	return c
}

// makePageClass makes the cache of a class, unless there is one, or the Buckets are closed or debug
// Buckets.
func (b *Buckets) makePageClass(class int) *Cache {
	p := &b.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.caches[class].Load(); c != nil || p.closed || b.large.debug != nil {
		return c
	}
	c, err := newCache(b.arena, b.config.pageClass(pageClassSizes[class]),
		reservation{id: p.firstID + uint32(class), backlog: b.backlog, lease: b.lease, single: true,
			hooks: b.hooking.now.Load()})
	if err != nil { // the kernel has refused memory, and may not for long
		time.AfterFunc(retryPageClass, func() { p.begun[class].Store(false) })
		return nil
	}
	b.lease.single = append(b.lease.single, c.stacks)
	c.buckets.Store(b)
	p.caches[class].Store(c)
	return c
}

// close makes sure that no more caches are made. It waits for one that is being made, or until ctx
// ends.
func (p *pageClasses) close(ctx context.Context) error {
	if err := lock.Context(ctx, &p.mu); err != nil {
		return err
	}
	p.closed = true
	p.mu.Unlock()
	return nil
}

// barnBytes is about how much the full sheaves of a barn hold for a page class.
const barnBytes = 1 << 20

// pageClass returns the config of the cache of a page class.
func (c BucketsConfig) pageClass(size uintptr) Config {
	cfg := c.class(0, size)
	cfg.Name = fmt.Sprintf("%s-%d", c.name(), size)
	cfg.Slabs = SlabLimits{MaxOrder: mem.Order(size), MinObjects: 1}
	cfg.MinPartial = None
	cfg.Debug = "-"       // debug Buckets have none of these classes
	cfg.SheafCapacity = 1 // raised to what sheaves.Capacity has for the size
	cfg.BarnFull = max(1, int(barnBytes/(size*uintptr(sheaves.Capacity(size, 1)))))
	return cfg
}
