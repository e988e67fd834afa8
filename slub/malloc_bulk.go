package slub

import (
	"unsafe"

	"github.com/slubd/slubd/numa"
)

// MallocBulk fills dst with objects of n bytes each, as Malloc returns them, or sets all of dst to
// nil and returns an error. Up to 1 MiB it costs what Cache.AllocBulk costs, a few nanoseconds for
// each; larger objects are allocated one by one. Any goroutine. Errors: as Malloc. (Kernel:
// kmem_cache_alloc_bulk.)
func (b *Buckets) MallocBulk(n int, dst []unsafe.Pointer) error {
	if c := b.anyClass(n, 1); c != nil {
		err := c.AllocBulk(dst)
		for i := 0; (sanitized || c.debug() != nil) && err == nil && i < len(dst); i++ {
			c.limitTo(n, dst[i], nil)
		}
		return err
	}
	got := 0
	defer func() { // also if a hook panics: the caller gets all or nothing
		if got < len(dst) {
			defer clear(dst) // also if another hook panics
			b.FreeBulk(dst[:got])
		}
	}()
	for i := range dst {
		p, err := b.allocNoClass(n, numa.NoNode)
		if err != nil {
			return err
		}
		dst[i] = p
		got++
	}
	return nil
}

// FreeBulk frees all objects of ps, of whatever sizes, with the checks of Free for each, and leaves
// ps in another order. nil elements and the address of no bytes are ignored. It frees the objects
// of each class together, as Cache.FreeBulk does, so it costs a few nanoseconds for each object and
// each class among them. Any goroutine. (Kernel: kfree_bulk.)
func (b *Buckets) FreeBulk(ps []unsafe.Pointer) {
	defer func() { // nothing is left if a hook panics
		if len(ps) > 0 {
			b.FreeBulk(ps)
		}
	}()
	for len(ps) > 0 {
		c := b.cacheOf(ps[0])
		if c == nil {
			p := ps[0]
			ps = ps[1:]
			b.freeLarge(p)
			continue
		}
		n := b.gather(ps, c)
		same := ps[:n]
		ps = ps[n:]
		c.FreeBulk(same)
	}
}

// gather moves the objects of c to the front of ps, in place, and returns their number.
func (b *Buckets) gather(ps []unsafe.Pointer, c *Cache) (n int) {
	for i, p := range ps {
		if b.cacheOf(p) == c {
			ps[n], ps[i] = p, ps[n]
			n++
		}
	}
	return n
}
