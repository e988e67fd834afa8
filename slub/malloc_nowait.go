package slub

import "unsafe"

// MallocNoWait is a Malloc that never waits, for hooks, finalizers, code that runs under a lock and
// code with a deadline. Up to 1 MiB it takes an object that is at hand, as Cache.AllocNoWait does
// and under its guarantees, or returns ErrWouldBlock at once. Above that it always returns
// ErrWouldBlock: pages come from the arena, which waits for locks and makes system calls. So it
// does above 32 KiB as long as no Malloc has had the cache of the class made, and in debug Buckets.
//
// Any goroutine, also in the Buckets' own hooks and destructor. It costs about as much as
// Cache.AllocNoWait. Errors: ErrWouldBlock, ErrClosed, ErrSize. (Kernel: kmalloc_nolock.)
func (b *Buckets) MallocNoWait(n int) (unsafe.Pointer, error) {
	switch {
	case 0 < n && n <= maxClass:
		c := b.class(n, 1)
		p, err := c.AllocNoWait()
		c.limitToNoWait(n, p, err)
		return p, err
	case maxClass < n && n <= maxPageClass:
		if c := b.pages.caches[pageClassOf(uintptr(n))].Load(); c != nil {
			p, err := c.AllocNoWait()
			c.limitToNoWait(n, p, err)
			return p, err
		}
	case n < 0:
		return nil, ErrSize // not wrapped, which would allocate
	case n == 0 && noBytes.Load() != 0:
		return nothing()
	}
	if b.closed.Load() {
		return nil, ErrClosed
	}
	return nil, ErrWouldBlock
}

// limitToNoWait is limitTo for a caller that must not wait.
func (c *Cache) limitToNoWait(n int, p unsafe.Pointer, err error) {
	if err != nil {
		return
	}
	limitObject(p, uintptr(n), c.layout.size)
	c.limitDebugNoWait(p, uintptr(n))
}
